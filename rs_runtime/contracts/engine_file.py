"""Built TensorRT engines beside a bundle, and the sidecar that says what each may be used for.

An engine fits one build of TensorRT on one kind of GPU, so it is no part of the bundle: that of
`NAME` has its engines in the folder `NAME.engines`. There `<role>-<machine>.engine` has its sidecar
`<role>-<machine>.json`; engines of other machines may lie beside it. TensorRT runs code of what it
deserialises and can't always tell a foreign engine, so nothing is handed to it before the sidecar
has been compared with the machine (`require_fresh`) and the bytes with the sidecar (`read_engine`).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, ResourceError
from rs_runtime.contracts.fields import (
    check_hash,
    check_identifier,
    check_integer,
    check_list,
    check_mapping,
    check_object,
    check_text,
)
from rs_runtime.contracts.files import read_file, sha256_hex
from rs_runtime.contracts.manifest import MAX_FILE_BYTES, FileEntry, read_file_entry
from rs_runtime.contracts.roles import TensorSpec, read_tensor_specs
from rs_runtime.contracts.strict_json import canonical_json, parse_json

FORMAT = "refinestyle-engine"
SCHEMA_VERSION = 1
MAX_SIDECAR_BYTES = 1_000_000
MADE = ("when", "by")
_MAX_SIDE = 1 << 31

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Machine:
    """What an engine is bound to; each part has to be the same where it is used.

    Attributes:
        tensorrt: Full version with its build, as "10.16.1.11".
        gpu: Name of the GPU as the driver gives it.
        compute_capability: As "9.0".
        cuda_driver: Newest CUDA version that the driver serves, as "13.0".
        platform: System and processor architecture, as "linux-x86_64".
    """

    tensorrt: str
    gpu: str
    compute_capability: str
    cuda_driver: str
    platform: str

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that tell machines apart in file names."""
        return hashlib.sha256(canonical_json(asdict(self))).hexdigest()[:12]


@dataclass(frozen=True)
class ShapeRange:
    """Shapes of one input that an engine takes.

    Attributes:
        min: Smallest sides.
        opt: The sides that it was made fastest for.
        max: Largest sides.
    """

    min: Shape
    opt: Shape
    max: Shape


@dataclass(frozen=True)
class PluginLibrary:
    """The library of the refined convolution's plugin, which an engine with plugins needs.

    Attributes:
        file: Name of its copy in the folder of the engines.
        version: Of the plugins, as in a node's `plugin_version`.
        sha256: Of the library.
    """

    file: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Recipe:
    """What an engine was built from and how.

    Attributes:
        graph: SHA-256 of the ONNX file, as in the bundle's manifest.
        precision: That of the graph's variant, "fp32" or "fp16".
        profile: Shapes of every input by name.
        flags: Names of TensorRT's builder flags that were set, sorted.
        plugin: None where the graph's functions were built instead of plugins.
    """

    graph: str
    precision: str
    profile: dict[str, ShapeRange]
    flags: tuple[str, ...]
    plugin: PluginLibrary | None


@dataclass(frozen=True)
class EngineFile:
    """What the sidecar of an engine says.

    Attributes:
        role: The role whose graph it runs.
        machine: What it is bound to.
        recipe: What it was built from.
        inputs: Names, dtypes and shapes; a side that is known only at run time is a string.
        outputs: Likewise.
        engine: Size and SHA-256 of the engine.
        made: When (UTC, ISO 8601) and by which program.
        schema_version: Version of this layout.
    """

    role: str
    machine: Machine
    recipe: Recipe
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    engine: FileEntry
    made: dict[str, str]
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """Return the text of the sidecar, canonical."""
        return canonical_json({"format": FORMAT} | asdict(self))

    @staticmethod
    def from_json(data: bytes, what: str) -> "EngineFile":
        """Read the text of a sidecar.

        Args:
            data: The whole file.
            what: Its name for messages.

        Raises:
            MalformedFileError: Damaged or incomplete, or an unknown field.
            IncompatibleError: A newer schema.
        """
        value = check_mapping(parse_json(data, what), what)
        if value.pop("format", None) != FORMAT:
            raise MalformedFileError(f"{what}: not the sidecar of an engine", expected=FORMAT)
        version = check_integer(value.get("schema_version"), f"{what}: schema_version", 1, 10**6)
        if version > SCHEMA_VERSION:
            raise IncompatibleError(
                f"{what}: the engine was built by a newer version",
                found=f"schema {version}",
                expected=f"at most {SCHEMA_VERSION}",
                hint="update this program, or build the engine again with this version",
            )
        check_object(value, what, [field.name for field in fields(EngineFile)])
        return EngineFile(
            role=check_identifier(value["role"], f"{what}: role"),
            machine=_machine(value["machine"], f"{what}: machine"),
            recipe=_recipe(value["recipe"], f"{what}: recipe"),
            inputs=read_tensor_specs(value["inputs"], f"{what}: inputs"),
            outputs=read_tensor_specs(value["outputs"], f"{what}: outputs"),
            engine=read_file_entry(value["engine"], f"{what}: engine"),
            made=_texts(value["made"], f"{what}: made", MADE),
            schema_version=version,
        )


def engines_folder(bundle: Path) -> Path:
    """Return the folder of a bundle's engines: beside it, as a bundle holds listed files only."""
    bundle = bundle.absolute()
    return bundle.with_name(f"{bundle.name}.engines")


def engine_path(folder: Path, role: str, machine: Machine) -> Path:
    """Return where a role's engine for a machine is; its sidecar ends in .json instead."""
    return folder / f"{role}-{machine.digest}.engine"


def read_sidecar(path: Path) -> EngineFile:
    """Read the sidecar of an engine.

    Args:
        path: Of the engine.

    Raises:
        UsageError: There is none.
        RefineStyleError: See `EngineFile.from_json` and `read_file`.
    """
    sidecar = path.with_suffix(".json")
    data = read_file(sidecar, max_bytes=MAX_SIDECAR_BYTES, what="sidecar of an engine")
    return EngineFile.from_json(data, str(sidecar))


def find_engine(bundle: Path, role: str, machine: Machine, graph: str) -> tuple[Path, EngineFile]:
    """Find the engine that runs a role's graph on this machine.

    Args:
        bundle: Folder of the bundle.
        role: The role.
        machine: What is found here.
        graph: SHA-256 of the graph, as in the bundle's manifest.

    Returns:
        Its path, not read yet, and what its sidecar says.

    Raises:
        ResourceError: No engine was built for the role.
        IncompatibleError: Only for other machines, or from another graph; says what differs.
        MalformedFileError: A damaged sidecar.
    """
    folder = engines_folder(bundle)
    path = engine_path(folder, role, machine)
    if path.with_suffix(".json").is_file():
        sidecar = read_sidecar(path)
        require_fresh(sidecar, path, machine, graph=graph)
        return path, sidecar
    others = [p.with_suffix(".engine") for p in sorted(folder.glob(f"{role}-*.json"))]
    if not others:
        raise ResourceError(
            f"{folder}: no engine was built for the {role} graph", hint=_build_hint(bundle)
        )
    nearest = min(others, key=lambda other: len(stale(read_sidecar(other), machine, graph=graph)))
    require_fresh(read_sidecar(nearest), nearest, machine, graph=graph)
    raise MalformedFileError(  # equal parts, another name
        f"{nearest}: not the name of its engine", expected=path.name, hint=_build_hint(bundle)
    )


def stale(sidecar: EngineFile, machine: Machine, **recipe: Any) -> dict[str, tuple[Any, Any]]:
    """Say what an engine was built for differently from what is found.

    Args:
        sidecar: Of the engine.
        machine: What is found here.
        recipe: Parts of a `Recipe` to compare too: `graph=…` to run it, all to build it.

    Returns:
        (built for, found) by part; empty for an engine that may be used.
    """
    built = asdict(sidecar.machine) | vars(sidecar.recipe)
    found = asdict(machine) | recipe
    return {part: (built[part], here) for part, here in found.items() if built[part] != here}


def require_fresh(sidecar: EngineFile, path: Path, machine: Machine, *, graph: str) -> None:
    """Refuse an engine that was built for another machine or graph; see `stale`.

    Raises:
        IncompatibleError: Says what differs.
    """
    parts = stale(sidecar, machine, graph=graph)
    if parts:
        built, here = (
            ", ".join(f"{_label(part)} {_short(values[i])}" for part, values in parts.items())
            for i in (0, 1)
        )
        raise IncompatibleError(
            f"{path}: the engine was built for something else",
            found=built,
            expected=here,
            hint=_build_hint(path.parent.with_suffix("")),
        )


def read_engine(path: Path, sidecar: EngineFile) -> bytes:
    """Read an engine whole and compare it with its sidecar.

    Raises:
        MalformedFileError: Not the file that the sidecar describes.
        RefineStyleError: See `read_file`.
    """
    return _read_as_listed(path, sidecar.engine.sha256)


def read_plugin_library(folder: Path, plugin: PluginLibrary) -> Path:
    """Check the copy of the plugin library in the engines' folder; return its path for loading.

    Raises:
        MalformedFileError: Not the library that the engine was built with.
        RefineStyleError: See `read_file`.
    """
    path = folder / plugin.file
    _read_as_listed(path, plugin.sha256)
    return path


def _read_as_listed(path: Path, sha256: str) -> bytes:
    data = read_file(path, max_bytes=MAX_FILE_BYTES, what="part of an engine")
    digest = sha256_hex(data)
    if digest != sha256:
        raise MalformedFileError(
            f"{path}: not the file that the engine's sidecar lists",
            found=f"SHA-256 {digest[:16]}…",
            expected=f"{sha256[:16]}…",
            hint=_build_hint(path.parent.with_suffix("")),
        )
    return data


def _build_hint(bundle: Path) -> str:
    return f"build it on this machine: rs-export --engine --bundle {bundle}"


def _label(part: str) -> str:
    return {"tensorrt": "TensorRT", "gpu": "GPU"}.get(part, part.replace("_", " "))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:16]}…"


def _machine(value: Any, where: str) -> Machine:
    return Machine(**_texts(value, where, [field.name for field in fields(Machine)]))


def _recipe(value: Any, where: str) -> Recipe:
    check_object(value, where, [field.name for field in fields(Recipe)])
    plugin = value["plugin"]
    return Recipe(
        graph=check_hash(value["graph"], f"{where}.graph"),
        precision=check_identifier(value["precision"], f"{where}.precision"),
        profile={
            check_identifier(name, f"{where}.profile"): _range(sides, f"{where}.profile.{name}")
            for name, sides in check_mapping(value["profile"], f"{where}.profile").items()
        },
        flags=tuple(
            check_identifier(flag, f"{where}.flags")
            for flag in check_list(value["flags"], f"{where}.flags")
        ),
        plugin=None if plugin is None else _plugin(plugin, f"{where}.plugin"),
    )


def _range(value: Any, where: str) -> ShapeRange:
    check_object(value, where, ("min", "opt", "max"))
    shapes: dict[str, Shape] = {
        bound: tuple(
            check_integer(side, f"{where}.{bound}", 1, _MAX_SIDE)
            for side in check_list(value[bound], f"{where}.{bound}")
        )
        for bound in ("min", "opt", "max")
    }
    low, opt, high = shapes["min"], shapes["opt"], shapes["max"]
    ordered = all(a <= b <= c for a, b, c in zip(low, opt, high, strict=False))
    if not len(low) == len(opt) == len(high) or not ordered:
        raise MalformedFileError(f"{where}: shapes that are no range", expected="min <= opt <= max")
    return ShapeRange(**shapes)


def _plugin(value: Any, where: str) -> PluginLibrary:
    check_object(value, where, ("file", "version", "sha256"))
    return PluginLibrary(
        file=check_identifier(value["file"], f"{where}.file"),
        version=check_identifier(value["version"], f"{where}.version"),
        sha256=check_hash(value["sha256"], f"{where}.sha256"),
    )


def _texts(value: Any, where: str, names: Any) -> dict[str, str]:
    """An object of exactly these fields, all of them text."""
    found: Mapping[str, Any] = check_object(value, where, names)
    return {name: check_text(found[name], f"{where}.{name}") for name in names}
