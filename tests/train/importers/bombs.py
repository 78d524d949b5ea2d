"""Small checkpoints that ask for much, or whose parts do not fit one another; generated."""

import io
import struct
import zipfile
from collections.abc import Iterator

from tests.train.importers.hostile import (
    Hostile,
    archive,
    by_global,
    in_g_ema,
    persistent,
    plain,
    stop,
    stream,
)

_TENSOR = ("torch._utils", "_rebuild_tensor_v2")
_STORAGE = b"(" + plain("storage") + b"ctorch\nFloatStorage\n" + plain("0") + plain("cpu")


def tensor(numel: int, offset: int, size: tuple, stride: tuple) -> bytes:
    """A tensor of storage '0' as torch.save describes it."""
    arguments = _STORAGE + plain(numel) + b"tQ" + plain(offset) + plain(size) + plain(stride)
    return by_global(*_TENSOR, arguments + b"\x89" + by_global("collections", "OrderedDict", b""))


def bombs() -> Iterator[Hostile]:
    """Small files that ask for much."""
    deep = b"]" * 1_000_000 + b"a" * 999_999
    doubled = b")" + b"2\x86" * 40
    yield Hostile("memo slot 2**28", stop(b"Nr" + struct.pack("<I", 1 << 28)), 6)
    yield Hostile("memo slot 2**31", stop(b"Nr" + struct.pack("<I", 1 << 31)), None)
    yield Hostile("bytes of 2**40", stop(b"\x8e" + struct.pack("<Q", 1 << 40)), None)
    yield Hostile("bytes of 2**62", stop(b"\x8e" + struct.pack("<Q", 1 << 62)), None)
    yield Hostile("text of 2**33", stop(b"\x8d" + struct.pack("<Q", 1 << 33)), None)
    yield Hostile("bytearray of 2**36", stop(b"\x96" + struct.pack("<Q", 1 << 36)), None)
    yield Hostile("frame of 2**60", b"\x80\x04\x95" + struct.pack("<Q", 1 << 60), 3)
    yield Hostile("number of 2**31 bytes", stop(b"\x8b" + struct.pack("<I", (1 << 31) - 1)), None)
    yield Hostile("number of many digits", b"I" + b"9" * 2_000_000 + b"\n.", 3)
    yield Hostile("nested a million deep", stop(deep), 3)
    yield Hostile("doubled forty times", stop(doubled), 3)
    yield Hostile("contains itself", stop(b"}q\1" + plain("g_ema") + b"h\1s"), 3)
    yield Hostile("modules, each twice in the next", stop(_doubled_modules()), 3)
    yield from _tensor_bombs()
    yield from _archive_bombs()


def slow_bomb() -> bytes:
    """A few bytes whose hash takes 2**40 steps."""
    return stop(b"})" + b"2\x86" * 40 + b"Ns")


def _doubled_modules() -> bytes:
    modules = persistent(b"}")
    for level in range(40):
        memo = bytes([level])
        twice = b"}" + plain("a") + modules + b"q" + memo + b"s" + plain("b") + b"h" + memo + b"s"
        modules = persistent(twice, part="_modules")
    return modules


def _tensor_bombs() -> Iterator[Hostile]:
    four = {"data/0": bytes(16)}
    shapes = {
        "expanded": (4, 0, (1 << 30,), (0,), 3),
        "expanded twice": (4, 0, (4, 4), (0, 1), 3),
        "past the end": (4, 1, (4,), (1,), 3),
        "stride past the end": (4, 0, (2, 2), (4, 1), 3),
        "negative stride": (4, 3, (4,), (-1,), 3),
        "negative offset": (4, -1, (4,), (1,), 3),
        "negative size": (4, 0, (-4,), (1,), 3),
        "empty, and huge": (4, 0, (0, 1 << 47, 1 << 47), (1, 1, 1), 3),
        "nine dimensions": (4, 0, (1,) * 9, (1,) * 9, 3),
        "storage of 2**60": (1 << 60, 0, (4,), (1,), 3),
        "storage too short": (3, 0, (3,), (1,), 3),
        "size that is a float": (4, 0, (4.0,), (1,), 3),
    }
    for name, (numel, offset, size, stride, code) in shapes.items():
        pickled = stop(in_g_ema(tensor(numel, offset, size, stride)))
        yield Hostile(f"tensor {name}", archive(pickled, four), code)
    repeated = b"}" + plain("g_ema") + b"}" + tensor(4, 0, (4,), (1,)) + b"q\x010"
    repeated += b"".join(plain(f"k{n}") + b"h\x01s" for n in range(1000)) + b"s"
    big = {"data/0": bytes(1 << 20)}
    many = repeated.replace(plain(4) + b"tQ", plain(1 << 18) + b"tQ")
    many = many.replace(plain((4,)), plain((1 << 18,)))
    yield Hostile("one megabyte, a thousand times", archive(stop(many), big), 6)


def _archive_bombs() -> Iterator[Hostile]:
    good = stop(in_g_ema(tensor(4, 0, (4,), (1,))))
    inflating = archive(good, {"data/0": bytes(1 << 24)}, compression=zipfile.ZIP_DEFLATED)
    yield Hostile("compressed", inflating, 4)
    whole = archive(good, {"data/0": bytes(16)})
    for part in (1, 2, 5, 9):
        yield Hostile(f"archive cut to {part}/10", whole[: len(whole) * part // 10], 3)
    yield Hostile("archive with a flipped bit", _flipped(whole, good), 3)
    twice = io.BytesIO(whole)
    with zipfile.ZipFile(twice, "a") as file:
        file.writestr("elsewhere/data.pkl", good)
    yield Hostile("two archives in one", twice.getvalue(), 4)
    yield Hostile("no pickle in it", archive(good).replace(b"data.pkl", b"data.txt"), 3)
    for keys in (["1"], [], ["0", "0"], 7):
        keys = keys if isinstance(keys, list) else [keys]
        yield Hostile(f"stream with keys {keys}", stream(good, keys, bytes(24)), 3)
    size = struct.pack("<Q", 1 << 60)
    yield Hostile("stream of 2**60", stream(good, ["0"], size + bytes(16)), 3)


def _flipped(whole: bytes, pickled: bytes) -> bytes:
    place = whole.index(pickled) + 20
    return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
