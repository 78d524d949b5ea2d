"""Pictures: C++ gives the pixels that Python gives, and refuses the files that Python refuses."""

import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.image_io import encode_picture, load_picture
from tests.cpp.checker import Checker, python_status, write_all
from tests.runtime import test_image_io as pictures

ROOT = Path(__file__).resolve().parents[2]
MAX_PIXELS = 1_000_000
PILLOW_BLOCK = 65_536
ORIENTATION = 0x0112

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow's remarks on damaged EXIF blocks


def scene(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Colour ramps with noise: every sampling and rounding shows."""
    rng = np.random.default_rng(height * width + channels)
    y, x = np.mgrid[:height, :width]
    ramps = [255 * x // width, 255 * y // height, (5 * x + 3 * y) % 256, (255 - 4 * x) % 256]
    noise = rng.integers(-40, 41, (height, width, channels))
    return np.clip(np.stack(ramps[:channels], axis=2) + noise, 0, 255).astype(np.uint8)


def with_text(data: bytes, kind: bytes, content: bytes) -> bytes:
    """A PNG with one chunk more after its header."""
    return data[:33] + pictures.png_chunk(kind, content) + data[33:]


def raw_png(
    samples: np.ndarray, depth: int, colour_type: int, *chunks: bytes, interlaced: bool = False
) -> bytes:
    """A PNG of packed samples [H, W, C], as an encoder of any depth and order would write it."""
    height, width = samples.shape[:2]
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    steps = (*passes, (1, 0, 2, 1)) if interlaced else ((0, 0, 1, 1),)
    rows = b""
    for top, left, down, right in steps:
        part = samples[top::down, left::right]
        for row in part if part.shape[1] else ():
            bits = "".join(f"{sample:0{depth}b}" for sample in row.ravel())
            bits += "0" * (-len(bits) % 8)
            rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced))
    parts = (
        pictures.png_chunk(b"IHDR", header),
        *chunks,
        pictures.png_chunk(b"IDAT", zlib.compress(rows)),
        pictures.png_chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpegs() -> dict[str, bytes]:
    files = {}
    for height, width in ((37, 53), (16, 16), (1, 1), (1, 9), (9, 2)):
        image = Image.fromarray(scene(height, width))
        for sampling in (0, 1, 2):
            for options in ({}, {"progressive": True}, {"quality": 20}, {"restart_marker_rows": 1}):
                name = f"{height}x{width} sampling {sampling} {options}"
                settings = {"quality": 90, "subsampling": sampling, **options}
                files[name] = pictures.encoded(image, "JPEG", **settings)
    image = Image.fromarray(scene(37, 53))
    cmyk = Image.fromarray(scene(37, 53, 4), "CMYK")
    for progressive in (False, True):
        for mode, source in (("L", image.convert("L")), ("CMYK", cmyk)):
            files[f"{mode} {progressive}"] = pictures.encoded(
                source, "JPEG", quality=90, progressive=progressive
            )
    files["RGB, not YCbCr"] = pictures.encoded(image, "JPEG", quality=90, keep_rgb=True)
    for orientation in range(10):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        exif[0x010F] = "a camera with a long name"
        files[f"orientation {orientation}"] = pictures.encoded(image, "JPEG", exif=exif)
    for tail in (b'tiff:Orientation="6"', b"<tiff:Orientation>8</tiff:Orientation>", b"none"):
        files[f"xmp {tail!r}"] = pictures.encoded(image, "JPEG", xmp=b"<x:xmpmeta>" + tail)
    for broken in (b"II*\0", b"MM\0*\0\0\0\x08\0\x02", b"II*\0" + b"\xff" * 40, b""):
        files[f"exif {broken!r}"] = pictures.encoded(image, "JPEG", exif=b"Exif\0\0" + broken)
    stray = pictures.encoded(image, "JPEG")
    first_end = 4 + int.from_bytes(stray[4:6], "big")
    files["stray bytes"] = stray[:first_end] + b"abc\xff\xff" + stray[first_end:]
    files["after the end"] = stray + b"more"
    return files


def pngs() -> dict[str, bytes]:
    rng = np.random.default_rng(5)
    image = Image.fromarray(scene(23, 31))
    modes = ("1", "L", "P", "LA", "RGBA", "RGB")
    files = {mode: pictures.encoded(image.convert(mode), "PNG") for mode in modes}
    files["alpha"] = pictures.encoded(Image.fromarray(scene(23, 31, 4)), "PNG")
    palette = bytes(rng.integers(0, 256, 3 * 200, dtype=np.uint8))
    alphas = bytes(range(0, 250, 3))
    plte, trns = pictures.png_chunk(b"PLTE", palette), pictures.png_chunk
    for interlaced in (False, True):
        for depth in (1, 2, 4, 8, 16):
            for kind, channels in ((0, 1), (2, 3), (3, 1), (4, 2), (6, 4)):
                if (depth < 8 and kind in (2, 4, 6)) or (depth == 16 and kind == 3):
                    continue
                top = min(1 << depth, 200 if kind == 3 else 1 << 16)
                samples = rng.integers(0, top, (11, 13, channels))
                chunks = [pictures.png_chunk(b"PLTE", palette[: 3 * top])] if kind == 3 else []
                name = f"type {kind}, {depth} bits, interlaced {interlaced}"
                files[name] = raw_png(samples, depth, kind, *chunks, interlaced=interlaced)
                if kind == 3:
                    holes = trns(b"tRNS", alphas[: min(top, len(alphas))])
                elif kind in (0, 2):
                    holes = trns(b"tRNS", samples[3, 4].astype(">u2").tobytes())
                else:
                    continue
                files[f"{name}, holes"] = raw_png(
                    samples, depth, kind, *chunks, holes, interlaced=interlaced
                )
    beyond = rng.integers(0, 256, (11, 13, 1))
    files["index beyond the palette"] = raw_png(beyond, 8, 3, plte)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    turned = pictures.encoded(image, "PNG", exif=exif)
    files["eXIf"] = turned
    plain = files["RGB"]
    digits = exif.tobytes().hex()
    raw = f"\nexif\n      {len(digits) // 2}\n{digits[:72]}\n{digits[72:]}\n".encode()
    files["raw exif"] = with_text(plain, b"tEXt", b"Raw profile type exif\0" + raw)
    packed = b"Raw profile type exif\0\0" + zlib.compress(raw)
    files["packed exif"] = with_text(plain, b"zTXt", packed)
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="8">'
    files["xmp"] = with_text(plain, b"iTXt", xmp)
    files["gamma"] = with_text(plain, b"gAMA", struct.pack(">I", 100_000))
    frame = Image.new("RGB", image.size, "black")
    files["animation"] = pictures.encoded(image, "PNG", save_all=True, append_images=[frame])
    files["after the end"] = plain + b"more"
    return files


def profiles() -> dict[str, bytes]:
    """Pictures whose profile says that red is green."""
    profile = pictures.swapped_primaries()
    image = Image.fromarray(scene(23, 31))
    files = {}
    for mode in ("RGB", "L", "P", "RGBA"):
        options = {} if mode in ("P", "RGBA") else {"quality": 90}
        name = "PNG" if mode in ("P", "RGBA") else "JPEG"
        files[mode] = pictures.encoded(image.convert(mode), name, icc_profile=profile, **options)
    return files


def pixels(path: Path, answer: dict) -> np.ndarray:
    found = np.fromfile(f"{path}.rgb", np.uint8)
    return found.reshape(answer["height"], answer["width"], 3)


def differences(checker: Checker, folder: Path, files: dict[str, bytes]) -> dict[str, int]:
    """The largest difference in grey levels by name; every file must be read by both."""
    paths = write_all(folder, list(files.values()))
    answers = checker.ask(f"picture {path} {MAX_PIXELS}" for path in paths)
    found = {}
    for name, path, answer in zip(files, paths, answers, strict=True):
        assert answer["status"] == 0, (name, answer)
        expected = load_picture(path)
        own = pixels(path, answer)
        assert own.shape == expected.shape, name
        found[name] = int(np.abs(own.astype(int) - expected).max())
    return found


def test_jpegs_have_the_same_pixels(checker: Checker, tmp_path: Path) -> None:
    found = differences(checker, tmp_path, jpegs())
    assert {name: size for name, size in found.items() if size} == {}


def test_pngs_have_the_same_pixels(checker: Checker, tmp_path: Path) -> None:
    found = differences(checker, tmp_path, pngs())
    assert {name: size for name, size in found.items() if size} == {}


def test_colour_profiles(checker: Checker, tmp_path: Path) -> None:
    (answer,) = checker.ask(["features"])
    if not answer["profiles"]:
        paths = write_all(tmp_path, list(profiles().values()))
        answers = checker.ask(f"picture {path} {MAX_PIXELS}" for path in paths)
        assert {answer["status"] for answer in answers} == {6}
        return
    # Another version of the same library: tables of 8 bits may round differently.
    assert max(differences(checker, tmp_path, profiles()).values()) <= 1


def test_photographs(checker: Checker, tmp_path: Path) -> None:
    photos = sorted((ROOT / "examples").glob("*.jpg"))
    files = {path.name: path.read_bytes() for path in photos}
    assert files and set(differences(checker, tmp_path, files).values()) == {0}


# ------------------------------------------------------------------------------------- refusals


def damaged(count: int) -> list[bytes]:
    """Cut pictures, and pictures with a few other bytes."""
    rng = np.random.default_rng(11)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image = Image.fromarray(scene(32, 48))
    sound = [pictures.encoded(image, "PNG", exif=exif)]
    sound += [pictures.encoded(image, "JPEG", quality=80, exif=exif, progressive=p) for p in (0, 1)]
    sound.append(pictures.encoded(image.convert("L"), "JPEG"))
    files = []
    for i in range(count):
        data = bytearray(sound[i % len(sound)])
        if i % 5 == 0:
            files.append(bytes(data[: rng.integers(0, len(data))]))
            continue
        # The first third holds the headers, where most rules are.
        reach = len(data) if i % 2 else len(data) // 3
        for position in rng.integers(0, reach, rng.integers(1, 6)):
            data[position] = rng.integers(0, 256)
        files.append(bytes(data))
    return files


def refused() -> list[bytes]:
    foreign = [b"", b"GIF89a" + bytes(20), b"BM" + bytes(60), b"<html>", b"\xff\xd8\xff", b"\xff"]
    noise = scene(48, 64)
    cut = [encode_picture(noise, suffix) for suffix in (".png", ".jpg")]
    foreign += [data[: len(data) * part // 20] for data in cut for part in range(20)]
    huge = [pictures.huge_jpeg(30000), pictures.huge_jpeg(65500), pictures.huge_png(50000)]
    flipped = bytearray(cut[0])
    flipped[len(flipped) // 2] ^= 4
    last_checksum = bytearray(cut[0])
    last_checksum[-1] ^= 4  # nobody needs that one
    return [*foreign, *huge, bytes(flipped), bytes(last_checksum)]


def endings() -> list[bytes]:
    """JPEGs below and above the size of Pillow's blocks, other bytes after the last row."""
    files = []
    for side in (40, 300):
        image = Image.fromarray(scene(side, side))
        for progressive in (False, True):
            data = pictures.encoded(
                image, "JPEG", quality=95, progressive=progressive, comment=bytes(60_000)
            )
            rows = data[:-2]
            far = rows + bytes(-len(rows) % PILLOW_BLOCK)
            for tail in (b"", b"\xff", b"j\xd9", b"\xff\xd4\xd9", b"\xff\xfe\xff\xff", data):
                files += [rows + tail, far + tail, far + bytes(PILLOW_BLOCK) + tail]
            files += [rows[:-1], rows[: len(rows) // 2] + data]
            # Tables alone, then a picture: what a stream of pictures without tables starts with.
            files += [b"\xff\xd8\xff\xd9" + data, data[:2] + b"\xff\xd9" + data[2:]]
    return files


def compare(checker: Checker, folder: Path, files: Sequence[bytes]) -> Counter[int]:
    paths = write_all(folder, files)
    verdicts: Counter[int] = Counter()
    answers = checker.ask(f"picture {path} {MAX_PIXELS}" for path in paths)
    for path, answer in zip(paths, answers, strict=True):
        expected = python_status(lambda path=path: load_picture(path, max_pixels=MAX_PIXELS))
        assert answer["status"] == expected, (path, answer)
        verdicts[expected] += 1
    return verdicts


def test_what_is_refused(checker: Checker, tmp_path: Path) -> None:
    verdicts = compare(checker, tmp_path, refused())
    assert verdicts[3] >= 45 and verdicts[4] == 3 and verdicts[0] == 1


def test_damaged_pictures(checker: Checker, tmp_path: Path) -> None:
    verdicts = compare(checker, tmp_path, damaged(600))
    assert verdicts[3] >= 300 and verdicts[0] >= 50


def test_what_follows_the_last_row(checker: Checker, tmp_path: Path) -> None:
    verdicts = compare(checker, tmp_path, endings())
    assert verdicts[3] >= 30 and verdicts[0] >= 30


def test_webp_is_python_s_alone(checker: Checker, tmp_path: Path) -> None:
    (path,) = write_all(tmp_path, [encode_picture(scene(8, 8), ".webp")])
    (answer,) = checker.ask([f"picture {path} {MAX_PIXELS}"])
    assert answer["status"] == 3 and "WebP" in answer["message"]


@pytest.mark.nightly
def test_many_more_damaged_pictures(sanitized_checker: Checker, tmp_path: Path) -> None:
    compare(sanitized_checker, tmp_path, damaged(8000))
