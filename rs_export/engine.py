"""From a bundle's graphs for TensorRT to engines for this machine, beside the bundle.

Networks are strongly typed: each value has the type that it has in the graph, on 10.x as on 11.x.
An engine that fits (`engine_file.stale`) is kept; any other of this machine is replaced. Not run
with TensorRT yet: names and signatures are those of NVIDIA's bindings 10.16 and 11.4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rs_export.parser_input import parser_input
from rs_export.plugin_bodies import FORM, VERSION
from rs_export.plugin_library import find_plugin_library, find_ptx
from rs_runtime import __version__
from rs_runtime.contracts.bundle import Bundle, read_bundle
from rs_runtime.contracts.engine_file import (
    EngineFile,
    Machine,
    PluginLibrary,
    Recipe,
    ShapeRange,
    engine_path,
    engines_folder,
    read_engine,
    read_sidecar,
    stale,
)
from rs_runtime.contracts.errors import (
    IncompatibleError,
    RefineStyleError,
    ResourceError,
    UsageError,
)
from rs_runtime.contracts.files import read_file, sha256_hex, write_atomic
from rs_runtime.contracts.manifest import MAX_FILE_BYTES, FileEntry, Manifest
from rs_runtime.contracts.roles import Role, Variant
from rs_runtime.contracts.tokens import decode_token_set
from rs_runtime.engines.interruptible import interruptible
from rs_runtime.engines.tensorrt_engine import library, this_machine
from rs_runtime.roles import MAX_BATCH

MAX_DOMAINS = 4  # of the largest domain's rank, on one picture
_PAPER_RANK = 256  # of a domain, where a bundle has none
_LEAST_MAJOR = 10

Tell = Callable[[str], None]
# Phase of a build, steps that are done, steps in all.
Steps = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Source:
    """One engine to build: whose, of which graph, and where it goes."""

    role: str
    spec: Role
    graph: bytes
    recipe: Recipe
    path: Path


def require_tensorrt() -> Machine:
    """What engines that are built here will be bound to.

    Raises:
        ResourceError: TensorRT, CUDA's bindings or a GPU is missing.
        IncompatibleError: A TensorRT without what the plugins and typed networks need.
    """
    machine = this_machine()
    if int(machine.tensorrt.partition(".")[0]) < _LEAST_MAJOR:
        raise IncompatibleError(
            "TensorRT is too old", found=machine.tensorrt, expected=f"{_LEAST_MAJOR}.0 or later"
        )
    return machine


def build_engines(path: Path, *, tell: Tell, steps: Steps) -> list[Path]:
    """Build the engines of a bundle that are missing or stale.

    Args:
        path: Folder of the bundle; engines go into the folder `engines_folder(path)`.
        tell: Is told what happens, a line at a time.
        steps: Is told how far a build is.

    Returns:
        Every engine of the bundle for this machine, built now or before.

    Raises:
        ResourceError: TensorRT or a GPU is missing, or the disk is full.
        IncompatibleError: The bundle has no graphs for TensorRT, or TensorRT refuses one.
        KeyboardInterrupt: Engines that were finished are kept, all others are as before.
    """
    machine = require_tensorrt()
    bundle = read_bundle(path)
    folder = engines_folder(path)
    _make(folder)
    plugin = _copy_plugins(folder, tell)
    sources = [
        _source(bundle, name, role, variant, machine, plugin)
        for name, role in bundle.manifest.roles.items()
        for variant in role.variants
        if variant.engine == "tensorrt"
    ]
    if not sources:
        raise IncompatibleError(
            f"{path}: the bundle has no graphs for TensorRT",
            hint="export it with: rs-export --model two_stage --fp16 --engine",
        )
    for source in sources:
        if _is_fresh(source, machine):
            tell(f"{source.role}: the engine fits this machine and graph")
            continue
        tell(f"{source.role}: building the engine, which takes minutes, once")
        _write(source, machine, _build(source, folder, machine, steps))
    return [source.path for source in sources]


def profile(role: Role, manifest: Manifest, domain_rank: int) -> dict[str, ShapeRange]:
    """Return the shapes that an engine takes: up to `MAX_BATCH` samples and `MAX_DOMAINS` domains.

    Args:
        role: Gives names and shapes of the inputs.
        manifest: Gives the rank of an inverted picture's tokens.
        domain_rank: Largest rank of a domain.
    """
    own = manifest.rank
    free = {
        "N": (1, 1, MAX_BATCH),
        "L": (1, max(1, own + domain_rank), max(1, own + MAX_DOMAINS * domain_rank)),
    }
    ranges = {}
    for spec in role.inputs:
        sides = [free[side] if isinstance(side, str) else (side,) * 3 for side in spec.shape]
        ranges[spec.name] = ShapeRange(*zip(*sides, strict=True))
    return ranges


def _source(
    bundle: Bundle,
    name: str,
    role: Role,
    variant: Variant,
    machine: Machine,
    plugin: PluginLibrary | None,
) -> _Source:
    graph = bundle.read(variant.file)
    recipe = Recipe(
        graph=sha256_hex(graph),
        precision=variant.precision,
        profile=profile(role, bundle.manifest, _domain_rank(bundle)),
        flags=(),
        plugin=plugin if variant.form == FORM else None,
    )
    path = engine_path(engines_folder(bundle.root), name, machine)
    return _Source(name, role, graph, recipe, path)


def _domain_rank(bundle: Bundle) -> int:
    manifest = bundle.manifest
    sets = (
        decode_token_set(
            bundle.read(path),
            table=manifest.layer_table,
            fingerprint=manifest.generator_fingerprint,
            name_hint=path,
        )
        for path in manifest.domains.values()
    )
    return max((domain.rank for domain in sets), default=_PAPER_RANK)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{folder}: cannot be written",
            found=error.strerror or type(error).__name__,
            hint="copy the bundle to a folder that you may write to",
        ) from error


def _copy_plugins(folder: Path, tell: Tell) -> PluginLibrary | None:
    """Copy the plugin library to the engines, so that they can be moved together, and load it."""
    found = find_plugin_library()
    if found is None:
        tell("no plugin library: the functions are built (see plugins/refined_conv/README.md)")
        return None
    tell(f"plugins: {found}; PTX: {find_ptx(found) or 'none'}")
    data = read_file(found, max_bytes=MAX_FILE_BYTES, what="plugin library")
    digest = sha256_hex(data)
    copy = folder / f"{found.stem}-{digest[:12]}{found.suffix}"
    write_atomic(copy, data)
    if library().get_plugin_registry().load_library(str(copy)) is None:
        raise IncompatibleError(
            f"{found}: TensorRT does not load the plugins",
            hint="build them again with this machine's TensorRT (plugins/refined_conv/README.md)",
        )
    return PluginLibrary(copy.name, VERSION, digest)


def _is_fresh(source: _Source, machine: Machine) -> bool:
    try:
        sidecar = read_sidecar(source.path)
        read_engine(source.path, sidecar)
    except RefineStyleError:
        return False
    return not stale(sidecar, machine, **vars(source.recipe))


def _write(source: _Source, machine: Machine, engine: bytes) -> None:
    sidecar = EngineFile(
        role=source.role,
        machine=machine,
        recipe=source.recipe,
        inputs=source.spec.inputs,
        outputs=source.spec.outputs,
        engine=FileEntry(len(engine), sha256_hex(engine)),
        made={
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "by": f"rs-export {__version__}",
        },
    )
    # The sidecar last: an engine without its own is taken for damaged, and built again.
    write_atomic(source.path, engine)
    write_atomic(source.path.with_suffix(".json"), sidecar.to_json())


def _build(source: _Source, folder: Path, machine: Machine, steps: Steps) -> bytes:
    trt = library()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    graph = parser_input(source.graph, plugins=source.recipe.plugin is not None)
    if not parser.parse(graph):
        errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise _refused(source, "; ".join(errors)[:300])
    config = builder.create_builder_config()
    # fp32 is fp32: TF32 would keep 10 bits of what demodulation squares and sums.
    config.clear_flag(trt.BuilderFlag.TF32)
    shapes = builder.create_optimization_profile()
    for name, sides in source.recipe.profile.items():
        shapes.set_shape(name, sides.min, sides.opt, sides.max)
    config.add_optimization_profile(shapes)
    timings = folder / f"timing-{machine.digest}.cache"
    _use_timings(config, timings)
    monitor = _monitor(trt, steps)
    config.progress_monitor = monitor
    plan = interruptible(lambda: builder.build_serialized_network(network, config), monitor.cancel)
    if plan is None:
        raise _refused(source, "its log is above")
    write_atomic(timings, bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def _network_flags(trt: Any) -> int:
    """Strong typing, which 10.x has to be asked for."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _use_timings(config: Any, path: Path) -> None:
    """Give a build what earlier ones on this machine measured."""
    try:
        known = read_file(path, max_bytes=MAX_FILE_BYTES, what="timing cache")
    except UsageError:  # none yet
        known = b""
    config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)


def _monitor(trt: Any, steps: Steps) -> Any:
    """TensorRT's view of the progress, and the way to end a build early."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            super().__init__()
            self._left: dict[str, int] = {}  # steps of each outer phase
            self._totals: dict[str, int] = {}
            self._cancelled = False

        def cancel(self) -> None:
            self._cancelled = True

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:  # phases inside it are part of its steps
                self._left[phase_name] = self._totals[phase_name] = num_steps
                steps(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._totals:
                total = self._totals[phase_name]
                self._left[phase_name] = total - step - 1
                steps(phase_name, step + 1, total)
            return not self._cancelled

        def phase_finish(self, phase_name: str) -> None:
            # A phase may finish before its last step.
            if self._left.pop(phase_name, 0):
                total = self._totals[phase_name]
                steps(phase_name, total, total)

    return Monitor()


def _refused(source: _Source, reason: str) -> IncompatibleError:
    return IncompatibleError(
        f"TensorRT {library().__version__} cannot build the {source.role} graph",
        found=reason,
        hint="report it with this version; other providers run the bundle meanwhile",
    )
