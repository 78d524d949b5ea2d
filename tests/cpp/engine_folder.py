"""A built engine beside a bundle that need not be there, with a sidecar that Python writes."""

from pathlib import Path

from rs_runtime.contracts.engine_file import (
    EngineFile,
    Machine,
    PluginLibrary,
    Recipe,
    ShapeRange,
    engine_path,
    engines_folder,
)
from rs_runtime.contracts.files import sha256_hex
from rs_runtime.contracts.manifest import FileEntry
from rs_runtime.contracts.roles import TensorSpec

ROLE, GRAPH, PLAN, PLUGIN = "double", b"a graph", b"a plan", b"a library"


def write_engine(
    bundle: Path, machine: Machine, plan: bytes = PLAN, plugin: PluginLibrary | None = None
) -> Path:
    """Writes the engine y = 2 x of a machine; returns its path."""
    x, y = (TensorSpec(name, "float32", ("N", 2)) for name in ("x", "y"))
    profile = {"x": ShapeRange((1, 2), (1, 2), (4, 2))}
    sidecar = EngineFile(
        role=ROLE,
        machine=machine,
        recipe=Recipe(sha256_hex(GRAPH), "fp32", profile, ("DISABLE_TIMING_CACHE",), plugin),
        inputs=(x,),
        outputs=(y,),
        engine=FileEntry(len(plan), sha256_hex(plan)),
        made={"when": "2026-11-20T00:00:00Z", "by": "a test"},
    )
    folder = engines_folder(bundle)
    folder.mkdir(exist_ok=True)
    path = engine_path(folder, ROLE, machine)
    path.write_bytes(plan)
    path.with_suffix(".json").write_bytes(sidecar.to_json())
    if plugin is not None:
        (folder / plugin.file).write_bytes(PLUGIN)
    return path
