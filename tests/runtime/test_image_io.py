"""Pictures of every accepted kind come out as sRGB uint8; every other one is refused clearly."""

import io
import os
import resource
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from rs_runtime.contracts.errors import (
    MalformedFileError,
    RefineStyleError,
    UnsafeFileError,
    UsageError,
)
from rs_runtime.image_io import encode_picture, load_picture, write_picture

# Four flat quadrants, told apart after any turn: red, green / blue, white. Not square on purpose.
COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
SCENE = COLOURS.repeat(16, axis=0).repeat(24, axis=1)


def encoded(image: Image.Image, name: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(pixels: np.ndarray, colour_type: int) -> bytes:
    """A 16-bit PNG [H, W, C], which Pillow itself cannot write in colour."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def huge_jpeg(side: int) -> bytes:
    """A small JPEG whose header claims side x side pixels."""
    data = bytearray(encoded(Image.new("RGB", (8, 8)), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return bytes(data)


def huge_png(side: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


@pytest.mark.parametrize("source", ["path", "bytes", "pil", "array", "lazy pil"])
def test_the_same_picture_from_every_kind_of_source(source, tmp_path):
    data = encode_picture(SCENE, ".png")
    (tmp_path / "scene.png").write_bytes(data)
    sources = {
        "path": tmp_path / "scene.png",
        "bytes": data,
        "pil": Image.fromarray(SCENE),
        "array": SCENE,
        "lazy pil": Image.open(io.BytesIO(data)),
    }
    picture = load_picture(sources[source])
    assert picture.dtype == np.uint8 and picture.flags.c_contiguous
    np.testing.assert_array_equal(picture, SCENE)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(name, orientation):
    # How a camera held in that way would have stored the scene; from the EXIF specification.
    stored = {
        1: SCENE,
        2: SCENE[:, ::-1],
        3: SCENE[::-1, ::-1],
        4: SCENE[::-1],
        5: SCENE.swapaxes(0, 1),
        6: SCENE.swapaxes(0, 1)[::-1],
        7: SCENE.swapaxes(0, 1)[::-1, ::-1],
        8: SCENE.swapaxes(0, 1)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {} if name == "PNG" else {"quality": 95}
    image = Image.fromarray(np.ascontiguousarray(stored))
    picture = load_picture(encoded(image, name, exif=exif, **options))
    assert picture.shape == SCENE.shape
    centres = picture[8::16, 12::24].astype(int)
    assert np.abs(centres - COLOURS).max() < 24


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_unreadable_exif_is_ignored():
    data = encoded(
        Image.fromarray(SCENE), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 40
    )
    assert load_picture(data).shape == SCENE.shape


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_other_modes_become_rgb(mode):
    picture = load_picture(
        encoded(Image.fromarray(SCENE).convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    )
    assert picture.shape == SCENE.shape
    assert picture[-1, -1].min() > 240  # white stays white in every mode


def test_alpha_lies_over_white_not_over_hidden_colour():
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[2:, :, 3] = 255
    rgba[1, :, 3] = 128
    for picture in (load_picture(encoded(Image.fromarray(rgba), "PNG")), load_picture(rgba)):
        assert (picture[0] == 255).all()
        assert (picture[3] == [200, 0, 0]).all()
        assert np.abs(picture[1].astype(int) - [227, 127, 127]).max() <= 1


def test_palette_transparency_lies_over_white():
    image = Image.fromarray(SCENE).convert("P")
    data = encoded(image, "PNG", transparency=image.getpixel((0, 0)))
    assert (load_picture(data)[0, 0] == 255).all()


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (6, 4)])
def test_sixteen_bits_are_shifted_not_rounded(colour_type, channels):
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, channels))
    if channels == 4:
        values[..., 3] = 65535
    picture = load_picture(png16(values, colour_type))
    expected = (values[..., : min(channels, 3)] >> 8) * np.ones(3, int)
    np.testing.assert_array_equal(picture, expected)
    np.testing.assert_array_equal(load_picture(values.astype(np.uint16)), expected)


@pytest.mark.parametrize("name", ["PNG", "WEBP"])
def test_first_frame_of_an_animation(name):
    first, second = Image.fromarray(SCENE), Image.new("RGB", (48, 32), "black")
    data = encoded(first, name, save_all=True, append_images=[second], lossless=True)
    np.testing.assert_array_equal(load_picture(data), SCENE)


def test_colour_profile_is_converted_and_a_broken_one_ignored():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    broken = encoded(Image.fromarray(SCENE), "PNG", icc_profile=b"\0" * 200)
    plain = encoded(Image.fromarray(SCENE), "PNG", icc_profile=lab)
    np.testing.assert_array_equal(load_picture(broken), SCENE)
    np.testing.assert_array_equal(load_picture(plain), SCENE)
    swapped = encoded(Image.fromarray(SCENE), "PNG", icc_profile=swapped_primaries())
    assert (load_picture(swapped)[0, 0] != SCENE[0, 0]).any()
    assert load_picture(swapped)[0, 0, 1] > 200  # stored red means green in this profile


def swapped_primaries() -> bytes:
    """An sRGB profile whose red and green primaries changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", profile[128:132])[0]
    entries = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    name = entries[b"desc"]
    offset, size = struct.unpack(">II", profile[name + 4 : name + 12])
    profile[offset : offset + size] = profile[offset : offset + size].replace(b"\0s\0R", b"\0x\0y")
    return bytes(profile)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_cut_anywhere_is_refused(suffix):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    data = encode_picture(noise, suffix)
    for cut in np.linspace(0, len(data) - 16, 60, dtype=int):
        with pytest.raises(MalformedFileError) as refusal:
            load_picture(data[:cut])
        if cut > 40:
            assert "ends early" in str(refusal.value)


def test_flipped_png_bits_are_refused():
    data = encode_picture(SCENE, ".png")
    for position in range(8, len(data) - 12, 5):
        damaged = bytearray(data)
        damaged[position] ^= 4
        with pytest.raises(RefineStyleError):
            load_picture(bytes(damaged))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"GIF89a" + bytes(20), "a GIF"),
        (b"BM" + bytes(60), "a BMP"),
        (b"II*\0" + bytes(60), "a TIFF"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"hello, I am a picture", "other data"),
        (b"\xff\xd8\xff", "damaged"),
    ],
)
def test_what_is_no_picture_is_named(data, words):
    with pytest.raises(MalformedFileError, match=words):
        load_picture(data)


def huge_webp(side: int) -> bytes:
    """An animated WebP whose canvas claims side x side pixels."""
    red = Image.new("RGB", (8, 8), "red")
    data = bytearray(encoded(Image.new("RGB", (8, 8)), "WEBP", save_all=True, append_images=[red]))
    canvas = data.index(b"VP8X") + 12
    data[canvas : canvas + 6] = (side - 1).to_bytes(3, "little") * 2
    return bytes(data)


@pytest.mark.parametrize(
    "data", [huge_jpeg(30000), huge_jpeg(65500), huge_png(50000), huge_webp(9000), huge_webp(16383)]
)
def test_huge_headers_are_refused_before_decoding(data):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnsafeFileError, match="pixels"):
        load_picture(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_limits_are_options():
    with pytest.raises(UnsafeFileError, match="48 x 32"):
        load_picture(encode_picture(SCENE, ".png"), max_pixels=1000)
    with pytest.raises(UnsafeFileError, match="bytes"):
        load_picture(encode_picture(SCENE, ".png"), max_bytes=10)
    with pytest.raises(UnsafeFileError):
        load_picture(SCENE, max_pixels=1000)


@pytest.mark.parametrize(
    "source",
    [None, 3, SCENE.astype(np.float32), SCENE[..., :2], SCENE[:0], SCENE[0, 0], SCENE[None]],
)
def test_wrong_types_are_usage_errors(source):
    with pytest.raises(UsageError):
        load_picture(source)


def test_written_pictures_carry_pixels_only():
    for suffix in (".png", ".jpg", ".webp"):
        image = Image.open(io.BytesIO(encode_picture(SCENE, suffix)))
        assert not image.getexif() and not set(image.info) & {"icc_profile", "exif", "comment"}


def test_an_input_is_never_overwritten(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encode_picture(SCENE, ".png"))
    os.symlink(path, tmp_path / "link.png")
    before = path.read_bytes()
    for output in (path, tmp_path / "link.png", tmp_path / "." / "photo.png"):
        with pytest.raises(UsageError, match="input"):
            write_picture(output, SCENE[::-1].copy(), inputs=[path])
    assert path.read_bytes() == before
    write_picture(tmp_path / "other.png", SCENE, inputs=[path])
    np.testing.assert_array_equal(load_picture(tmp_path / "other.png"), SCENE)


def test_unknown_output_suffix_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"\.png"):
        write_picture(tmp_path / "x.bmp", SCENE)
    assert not list(tmp_path.iterdir())


def test_importing_the_package_loads_nothing_heavy():
    heavy = ["torch", "onnxruntime", "cv2", "PIL", "onnx", "numpy"]
    code = f"import sys, rs_runtime; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_mutated_files_give_a_picture_or_our_own_error(suffix):
    rng = np.random.default_rng(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    name = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP"}[suffix]
    data = encoded(Image.fromarray(SCENE), name, exif=exif, icc_profile=profile)
    for _ in range(400):
        mutant = bytearray(data)
        for position in rng.integers(0, len(data), rng.integers(1, 6)):
            mutant[position] = rng.integers(0, 256)
        try:
            picture = load_picture(bytes(mutant), max_pixels=1_000_000)
        except (MalformedFileError, UnsafeFileError):
            continue
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
