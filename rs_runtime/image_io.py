"""Pictures in and out: files, bytes, PIL images and arrays become uint8 [H, W, 3] in sRGB.

Pillow decodes, because it says when a file is damaged (OpenCV returns a half-grey picture). Only
JPEG, PNG and WebP are decoded, and sizes are checked from the header first: a JPEG of 1.4 kB can
claim 30000 x 30000 pixels. Rules: EXIF orientation applied, alpha over white, 16 bits by ``>> 8``,
first frame, colour profile to sRGB. Nothing but pixels is written, so no metadata leaks.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rs_runtime.contracts.errors import (
    MalformedFileError,
    RefineStyleError,
    UnsafeFileError,
    UsageError,
)
from rs_runtime.contracts.files import read_file, write_atomic

if TYPE_CHECKING:
    from PIL import Image

Picture: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]"

MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 64_000_000
OUTPUT_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_MAX_PROFILE_BYTES = 4_000_000
_FORMATS = "a JPEG, PNG or WebP picture"
_ORIENTATION_TAG = 0x0112
# First bytes of what people send by mistake, so that the message can name it.
_FOREIGN = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"<", "an HTML, SVG or XML page"),
    (b"version https://git-lfs", "a Git LFS pointer; the picture itself was not downloaded"),
)


def load_picture(
    source: Picture, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_FILE_BYTES
) -> NDArray[np.uint8]:
    """Reads a picture.

    Args:
        source: A path; the bytes of a JPEG, PNG or WebP file; a PIL image; or an array, uint8 or
            uint16, [H, W] gray, [H, W, 1] gray, [H, W, 3] RGB or [H, W, 4] RGBA.
        max_pixels: Largest width x height that is decoded.
        max_bytes: Largest file that is read.

    Returns:
        uint8 [H, W, 3], sRGB, C-contiguous.

    Raises:
        UsageError: The path does not exist, or the array is not a picture.
        MalformedFileError: Not a picture of a known format, or a damaged one.
        UnsafeFileError: Larger than the limits.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        name, data = "picture", bytes(source)
        if len(data) > max_bytes:
            raise UnsafeFileError(
                f"{name}: too large",
                found=f"{len(data):,} bytes",
                expected=f"at most {max_bytes:,}",
            )
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        data = read_file(source, max_bytes=max_bytes, what="picture")
    elif hasattr(source, "getexif"):
        return _from_pil("picture", source, max_pixels)
    else:
        raise UsageError(
            "this is not a picture",
            found=type(source).__name__,
            expected="a path, bytes, a PIL image or a NumPy array",
        )
    return _from_pil(name, _open(name, data, max_pixels), max_pixels)


def encode_picture(picture: NDArray[np.uint8], suffix: str) -> bytes:
    """Encodes uint8 [H, W, 3] in the format that a file name's suffix stands for.

    Args:
        picture: uint8 [H, W, 3].
        suffix: ".png" (lossless), ".jpg", ".jpeg" or ".webp" (quality 95); case is ignored.

    Raises:
        UsageError: Another suffix, or not a picture.
    """
    from PIL import Image

    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise UsageError(
            "this array cannot be written as a picture",
            found=f"{picture.dtype} {list(picture.shape)}",
            expected="uint8 [H, W, 3]",
        )
    suffix = suffix.lower()
    if suffix not in OUTPUT_SUFFIXES:
        raise UsageError(
            "unknown picture format for the output",
            found=suffix or "a name without a suffix",
            expected=", ".join(OUTPUT_SUFFIXES),
        )
    name = {".png": "PNG", ".webp": "WEBP"}.get(suffix, "JPEG")
    options: dict[str, Any] = {} if name == "PNG" else {"quality": 95}
    if name == "JPEG":
        options["subsampling"] = 0
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, name, **options)
    return buffer.getvalue()


def write_picture(
    path: str | os.PathLike[str],
    picture: NDArray[np.uint8],
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> Path:
    """Writes a picture aside and renames it, so that a failure loses nothing that was there.

    Args:
        path: Output; its suffix picks the format.
        picture: uint8 [H, W, 3].
        inputs: Files that this output may not replace.

    Raises:
        UsageError: The output is one of ``inputs``, or has an unknown suffix.
        ResourceError: The place cannot be written.
    """
    path = Path(path)
    refuse_overwriting(path, inputs)
    write_atomic(path, encode_picture(picture, path.suffix))
    return path


def refuse_overwriting(path: Path, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Raises UsageError if writing ``path`` would replace one of ``inputs``."""
    for source in inputs:
        try:
            same = os.path.samefile(path, source)
        except (OSError, ValueError):  # one of them does not exist
            continue
        if same:
            raise UsageError(
                f"the output would replace the input {os.fspath(source)}",
                hint="choose another name with --out",
            )


def _open(name: str, data: bytes, max_pixels: int) -> Image.Image:
    """Parses the header. The plugin is called by itself: PIL.Image.open warns on large pictures."""
    from PIL import JpegImagePlugin, PngImagePlugin, WebPImagePlugin

    if not data:
        raise MalformedFileError(f"{name}: the file is empty", found="0 bytes", expected=_FORMATS)
    if data[:3] == b"\xff\xd8\xff":
        plugin = JpegImagePlugin.JpegImageFile
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        if _png_ends_early(data):
            raise _ends_early(name)
        plugin = PngImagePlugin.PngImageFile
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        if int.from_bytes(data[4:8], "little") + 8 > len(data):
            raise _ends_early(name)
        if data[12:16] == b"VP8X":  # opening an animation allocates its whole canvas
            width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
            _check_pixels(name, width, height, max_pixels)
        plugin = WebPImagePlugin.WebPImageFile
    else:
        found = next((what for magic, what in _FOREIGN if data.startswith(magic)), "other data")
        raise MalformedFileError(
            f"{name}: not a picture that can be read", found=found, expected=_FORMATS
        )
    try:
        if plugin is PngImagePlugin.PngImageFile:
            plugin(io.BytesIO(data)).verify()  # decoding alone checks no CRC of the pixel data
        return plugin(io.BytesIO(data))
    except MemoryError:
        raise
    except Exception as error:  # plugins raise whatever their parsing runs into
        raise _damaged(name, error) from error


def _png_ends_early(data: bytes) -> bool:
    """Whether the chunks stop before IEND is complete: length, name, content, CRC each."""
    position = 8
    while position + 12 <= len(data):
        if data[position + 4 : position + 8] == b"IEND":
            return False
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return True


def _from_pil(name: str, image: Image.Image, max_pixels: int) -> NDArray[np.uint8]:
    _check_pixels(name, *image.size, max_pixels)
    try:
        image.load()
        turned = _turn(image)
        return np.ascontiguousarray(_flatten(turned), dtype=np.uint8)
    except (MemoryError, RefineStyleError):
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, EOFError, ...
        raise _damaged(name, error) from error


def _from_array(array: NDArray[Any], max_pixels: int) -> NDArray[np.uint8]:
    channels = array.shape[2] if array.ndim == 3 else 1
    if (
        array.dtype not in (np.uint8, np.uint16)
        or array.ndim not in (2, 3)
        or channels not in (1, 3, 4)
        or array.size == 0
    ):
        raise UsageError(
            "this array is not a picture",
            found=f"{array.dtype} {list(array.shape)}",
            expected="uint8 or uint16, [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]",
        )
    _check_pixels("picture", array.shape[1], array.shape[0], max_pixels)
    picture = array >> 8 if array.dtype == np.uint16 else array
    picture = picture.astype(np.uint8).reshape(*array.shape[:2], channels)
    if channels == 4:
        alpha = picture[..., 3:].astype(np.uint16)
        over = picture[..., :3] * alpha + 255 * (255 - alpha) + 127
        picture = (over // 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(picture, (*array.shape[:2], 3)))


def _check_pixels(name: str, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UnsafeFileError(
            f"{name}: too large to decode",
            found=f"{width} x {height} pixels",
            expected=f"at most {max_pixels / 1e6:g} million pixels",
            hint="make it smaller first; a portrait needs no more",
        )


def _turn(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation, 1 to 8; an unreadable EXIF block is no reason to refuse."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # hostile or broken EXIF fails in many ways inside Pillow
        return image
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _flatten(image: Image.Image) -> NDArray[np.uint8]:
    """Any mode to uint8 [H, W, 3]: 16 bits shifted, alpha over white, colour profile to sRGB."""
    from PIL import Image

    if image.mode.startswith("I"):
        gray = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
        return np.repeat((gray >> 8).astype(np.uint8)[..., None], 3, axis=2)
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", rgba.size, "white")
        image.paste(rgba, mask=rgba.getchannel("A"))
    return np.asarray(_to_srgb(image, profile))


def _to_srgb(image: Image.Image, profile: Any) -> Image.Image:
    """Converts RGB and CMYK pictures by their embedded profile; a bad profile is ignored."""
    from PIL import ImageCms

    plain = image if image.mode == "RGB" else image.convert("RGB")
    if not isinstance(profile, bytes) or not 0 < len(profile) <= _MAX_PROFILE_BYTES:
        return plain
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = own.profile.xcolor_space.strip()
        if "sRGB" in ImageCms.getProfileDescription(own):
            return plain  # a round trip through the tables would only add rounding
        source = image if space == "CMYK" == image.mode else plain
        if space != source.mode:
            return plain
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(source, own, srgb, outputMode="RGB") or plain
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return plain


def _damaged(name: str, error: Exception) -> RefineStyleError:
    from PIL.Image import DecompressionBombError

    text = str(error).lower()
    if isinstance(error, DecompressionBombError):  # WebP has its canvas checked by Pillow as well
        return UnsafeFileError(f"{name}: too large to decode", found=str(error))
    if isinstance(error, EOFError) or "truncated" in text:
        return _ends_early(name)
    return MalformedFileError(
        f"{name}: the picture is damaged",
        found=f"{type(error).__name__} while decoding",
        expected=_FORMATS,
        hint="save or download it again",
    )


def _ends_early(name: str) -> MalformedFileError:
    return MalformedFileError(
        f"{name}: the picture ends early",
        expected="a complete file",
        hint="save or download it again",
    )
