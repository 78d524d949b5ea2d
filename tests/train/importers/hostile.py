"""Hostile checkpoints, generated: code in pickles, attacks on the allow-list, bombs.

`GADGETS` really leave a file behind when a plain unpickler reads them; the tests prove that first.
"""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

MAGIC = 0x1950A86A20F9469CFC6C

# The arguments of a call that makes a path.
_Arguments = Callable[[str], tuple]


def _path(path: str) -> tuple:
    return (path,)


def _write(path: str) -> tuple:
    return (path, "w")


def _command(path: str) -> tuple:
    return (["/usr/bin/touch", path],)


def _shell(path: str) -> tuple:
    return (f"touch '{path}'",)


def _statement(path: str) -> tuple:
    return (f"open({path!r}, 'w')",)


GADGETS: list[tuple[str, str, _Arguments]] = [
    *(("os", name, _shell) for name in ("system", "popen")),
    ("posix", "system", _shell),
    *(("os", name, _path) for name in ("mkdir", "makedirs", "mkfifo", "mknod")),
    ("posix", "mkdir", _path),
    ("posix", "mknod", _path),
    ("os", "open", lambda path: (path, 0o101)),  # O_WRONLY | O_CREAT
    ("os", "symlink", lambda path: ("/", path)),
    *(("subprocess", n, _command) for n in ("Popen", "call", "run", "check_call", "check_output")),
    ("subprocess", "getoutput", _shell),
    ("subprocess", "getstatusoutput", _shell),
    ("pty", "spawn", _command),
    *(("builtins", name, _statement) for name in ("eval", "exec")),
    ("builtins", "open", _write),
    *(("io", name, _write) for name in ("open", "FileIO")),
    ("_io", "open", _write),
    ("_io", "FileIO", _write),
    ("_pyio", "open", _write),
    ("codecs", "open", _write),
    *((module, "open", _write) for module in ("gzip", "bz2", "lzma", "tarfile", "wave")),
    ("zipfile", "ZipFile", _write),
    ("zipfile", "PyZipFile", _write),
    ("gzip", "GzipFile", _write),
    ("bz2", "BZ2File", _write),
    ("lzma", "LZMAFile", _write),
    ("tarfile", "TarFile", _write),
    ("sqlite3", "connect", _path),
    ("_sqlite3", "connect", _path),
    ("logging", "FileHandler", _path),
    ("logging.handlers", "RotatingFileHandler", _path),
    ("cProfile", "run", _statement),
    ("profile", "run", _statement),
    ("shutil", "copyfile", lambda path: ("/etc/hostname", path)),
    ("shutil", "copy", lambda path: ("/etc/hostname", path)),
    ("shutil", "copytree", lambda path: ("/etc/opt", path)),
    ("urllib.request", "urlretrieve", lambda path: ("file:///etc/hostname", path)),
    ("tempfile", "mkdtemp", lambda path: (None, f"{path}-")),
    ("mailbox", "Maildir", _path),
    ("shelve", "open", _path),
    ("dbm.dumb", "open", lambda path: (path, "n")),
    ("numpy", "savetxt", lambda path: (path, [0])),
    ("numpy", "save", lambda path: (path, 0)),
    ("numpy", "savez", _path),
    ("numpy", "memmap", lambda path: (path, "u1", "w+", 0, (1,))),
]


class Hostile(NamedTuple):
    """A file and the code that a command must end with, None where any refusal is right."""

    name: str
    data: bytes
    code: int | None


# ------------------------------------------------------------------------------------- encodings


def plain(value: object) -> bytes:
    """The opcodes that put a value on the stack, without PROTO and STOP."""
    return pickle.dumps(value, 2)[2:-1]


def _arguments(values: tuple) -> bytes:
    return b"".join(plain(value) for value in values)


def by_global(module: str, name: str, arguments: bytes) -> bytes:
    """GLOBAL, a tuple, REDUCE: protocol 0 and 2."""
    return f"c{module}\n{name}\n".encode() + b"(" + arguments + b"tR"


def by_stack(module: str, name: str, arguments: bytes) -> bytes:
    """STACK_GLOBAL from two texts, one of them memoised."""
    texts = plain(module) + b"\x94" + plain(name)
    return texts + b"\x93(" + arguments + b"tR"


def by_inst(module: str, name: str, arguments: bytes) -> bytes:
    """INST: the call of protocol 0."""
    return b"(" + arguments + f"i{module}\n{name}\n".encode()


def by_obj(module: str, name: str, arguments: bytes) -> bytes:
    """OBJ: the call of protocol 1."""
    return b"(" + f"c{module}\n{name}\n".encode() + arguments + b"o"


ENCODINGS = (by_global, by_stack, by_inst, by_obj)


def stop(opcodes: bytes) -> bytes:
    """A whole pickle."""
    return b"\x80\x04" + opcodes + b"."


# ------------------------------------------------------------------------------------ containers


def archive(pickled: bytes, records: dict[str, bytes] | None = None, **options: int) -> bytes:
    """A zip as torch.save writes it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", b"little")
        for name, data in (records or {}).items():
            file.writestr(f"archive/{name}", data)
        file.writestr("archive/version", b"3\n")
    return stream.getvalue()


def stream(pickled: bytes, keys: object = (), data: bytes = b"") -> bytes:
    """What torch.save wrote before 1.6."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    parts = [pickle.dumps(value, 2) for value in (MAGIC, 1001, system)]
    return b"".join(parts) + pickled + pickle.dumps(list(keys), 2) + data


def from_bytes(inner: bytes) -> bytes:
    """A call of torch.storage._load_from_bytes, as pickles of modules carry storages."""
    return by_global(
        "torch.storage", "_load_from_bytes", b"B" + struct.pack("<I", len(inner)) + inner
    )


def in_g_ema(opcodes: bytes) -> bytes:
    """{'g_ema': {'conv1.conv.weight': ...}} with the value that the opcodes make."""
    return b"}" + plain("g_ema") + b"}" + plain("conv1.conv.weight") + opcodes + b"ss"


def persistent(opcodes: bytes, source: str = "", part: str = "_parameters") -> bytes:
    """An object of NVIDIA's persistent classes, a part of whose state the opcodes make."""
    meta = b"}" + plain("type") + plain("class") + b"s"
    meta += plain("module_src") + plain(source) + b"s"
    meta += plain("class_name") + plain("Generator") + b"s"
    meta += plain("state") + b"}" + plain(part) + opcodes + b"ss"
    return by_global("torch_utils.persistence", "_reconstruct_persistent_obj", meta)


CONTAINERS: list[Callable[[bytes], bytes]] = [
    lambda op: stop(in_g_ema(op)),
    lambda op: archive(stop(in_g_ema(op))),
    lambda op: stream(stop(in_g_ema(op))),
    lambda op: stop(in_g_ema(from_bytes(stream(stop(op))))),
    lambda op: stop(in_g_ema(from_bytes(stop(op)))),
    lambda op: archive(stop(in_g_ema(op + b"Q"))),  # as a persistent id
    lambda op: stop(b"}" + plain("G_ema") + persistent(b"}" + plain("x") + op + b"s") + b"s"),
    lambda op: archive(stop(b"}.")) + stop(op),
    lambda op: stop(b"}") + stop(op),  # behind the end
    lambda op: stream(stop(b"}")) + stop(op),
]


def gadget_files(canary: Callable[[int], str]) -> Iterator[Hostile]:
    """Every gadget in every encoding; containers take turns."""
    for index, (module, name, arguments) in enumerate(GADGETS):
        for turn, encode in enumerate(ENCODINGS):
            opcodes = encode(module, name, _arguments(arguments(canary(index))))
            label = f"{module}.{name} {encode.__name__}"
            yield Hostile(label, stop(opcodes), 4)
            container = CONTAINERS[(index + turn) % len(CONTAINERS)]
            yield Hostile(f"{label} inside", container(opcodes), None)


def control_pickle(index: int, canary: str) -> bytes:
    """One gadget for a plain unpickler."""
    module, name, arguments = GADGETS[index]
    return stop(by_stack(module, name, _arguments(arguments(canary))))


# ------------------------------------------------------------------------- against the allow-list


def allow_list_files(canary: str) -> Iterator[Hostile]:
    """Attacks that use only what the importer must allow, or look like it."""
    system = by_global("os", "system", plain(f"touch '{canary}'"))
    dotted = (
        ("collections", "OrderedDict.fromkeys"),
        ("collections", "OrderedDict.__init__.__globals__"),
        ("collections", "OrderedDict\\n"),
        ("collections.OrderedDict", "fromkeys"),
        ("collections", "abc"),
        ("collections", "namedtuple"),
        ("collections ", "OrderedDict"),
        ("Collections", "OrderedDict"),
        ("torch._utils", "os.system"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch._utils", "_import_dotted_name"),
        ("torch", "load"),
        ("torch", "FloatStorage.from_file"),
        ("torch", "hub.load"),
        ("torch.storage", "_load_from_bytes.__globals__"),
        ("torch.storage", "os"),
        ("torch_utils.persistence", "_src_to_module"),
        ("torch_utils.persistence", "import_hook"),
        ("dnnlib.util", "open_url"),
        ("dnnlib.util", "call_func_by_name"),
        ("dnnlib.util", "EasyDict.__getattr__"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy", "load"),
        ("numpy", "f2py.compile"),
        ("_codecs", "decode"),
        ("argparse", "FileType"),
        ("__builtin__", "eval"),
        ("builtins", "setattr"),
        ("builtins", "getattr"),
        ("builtins", "set.__init__"),
        ("__main__", "main"),
        ("rs_train.importers.inert", "ALLOWED"),
        ("rs_train.importers.child", "os"),
        ("rs_train.importers.torch_file", "_load_from_bytes"),
        ("sys", "modules"),
        ("", ""),
    )
    for module, name in dotted:
        yield Hostile(f"{module!r}.{name!r}", stop(by_stack(module, name, plain(canary))), 4)
    objects = {
        "class": b"ccollections\nOrderedDict\n",
        "function": b"ctorch._utils\n_rebuild_tensor_v2\n",
        "storage type": b"ctorch\nFloatStorage\n",
        "type name": b"ctorch\nfloat32\n",
        "persistent": persistent(b"}"),
    }
    changes = {
        "dict state": b"}" + plain("__call__") + system + b"sb",
        "attributes": b"}" + plain("_function") + plain(1) + b"sb",
        "slots": b"(N}" + plain("_function") + plain(1) + b"stb",
        "class slots": b"(N}" + plain("__setstate__") + plain(1) + b"stb",
        "append": plain(1) + b"a",
        "appends": b"(" + plain(1) + b"e",
        "set item": plain("x") + plain(1) + b"s",
        "add items": b"(" + plain(1) + b"\x90",
        "new": b")\x81",
        "new with keywords": b"(" + plain(1) + b"t}\x92",
    }
    for what, made in objects.items():
        for how, change in changes.items():
            code = 4 if how == "dict state" else 3
            yield Hostile(f"{what}, {how}", stop(b"]" + made + change + b"a"), code)
    yield from _misused(canary, system)


def _misused(canary: str, system: bytes) -> Iterator[Hostile]:
    source = f"import os\nos.system('touch {canary}')\nclass Generator: pass\n"
    nested = from_bytes(stream(stop(from_bytes(stream(stop(system))))))
    encode = by_global("_codecs", "encode", plain("cos\nsystem\n") + plain("latin1"))
    number = by_global("numpy", "dtype", plain("O8"))
    object_array = by_global("numpy.core.multiarray", "scalar", number + plain("x"))
    yield from (
        Hostile("source text in a state", stop(persistent(plain(source))), 3),
        Hostile("storage in a storage", stop(in_g_ema(nested)), 4),
        Hostile("bytes for a name", stop(encode + b"\x93"), 3),
        Hostile(
            "codec that runs", stop(by_global("_codecs", "encode", plain("a") + plain("zip"))), 3
        ),
        Hostile("NumPy object", stop(object_array), 3),
        Hostile("tuple called", stop(b")(tR"), 3),
        Hostile("set of a dict called", stop(by_global("builtins", "set", b"}") + b")R"), 3),
        Hostile("extension code", stop(b"\x82\x01"), 3),
        Hostile("out-of-band buffer", stop(b"\x97"), 3),
        Hostile("text persistent id", b"Pos.system\n.", 3),
        Hostile(
            "namespace", stop(b"cargparse\nNamespace\n)\x81}" + plain("x") + system + b"sb"), 4
        ),
        Hostile(
            "module list",
            stop(b"ctorch.nn.modules.container\nModuleList\n)\x81" + system + b"b"),
            4,
        ),
        Hostile("whole module", stop(by_global("torch.nn.modules.linear", "Linear", plain(1))), 4),
        Hostile("TorchScript", archive(stop(b"}"), {"code/__torch__.py": source.encode()}), 4),
        Hostile("TensorFlow pickle", stop(by_global("dnnlib.tflib.network", "Network", b"")), 5),
    )
