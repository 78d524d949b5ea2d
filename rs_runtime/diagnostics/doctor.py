"""What works here and what does not: engines really loaded, packages, a bundle's self-test, disk.

Every finding is looked at, whatever the ones before it said; nothing is changed.
"""

from __future__ import annotations

import io
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rs_runtime import __version__
from rs_runtime.contracts.bundle import Bundle, Golden, read_bundle
from rs_runtime.contracts.errors import (
    NumericsError,
    RefineStyleError,
    ResourceError,
    UsageError,
)
from rs_runtime.contracts.roles import Variant
from rs_runtime.engines.base import EngineOptions
from rs_runtime.engines.select import (
    Chosen,
    installed,
    native_machine,
    open_engine,
    providers,
    tensorrt_machine,
)
from rs_runtime.prompts import PromptReader, has_prompts, read_settings
from rs_runtime.roles import RoleRunner, choose_variant

State = Literal["ok", "absent", "problem"]

PACKAGES = (
    *("numpy", "opencv-python-headless", "pillow", "safetensors", "click", "tokenizers"),
    *("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "cuda-bindings"),
)
# Wheels that write the same folder: with two of them installed, parts of both are on disk.
_OVERWRITING = (
    ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-rocm"),
    ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
)
# y = -x of two numbers: ONNX, opset 18.
_ONE_NODE = bytes.fromhex(
    "08093a360a0d0a017812017922034e65673a0012036f6e655a0f0a0178120a0a08080112040a0208"
    "02620f0a0179120a0a08080112040a02080242040a001012"
)
# Engines that do not take any graph, and what says what they run on.
_OWN_GRAPHS = {"tensorrt": tensorrt_machine, "native": native_machine}
_LEAST_DB = {"bf16": 38.0, "fp16": 40.0}  # what the exporter asks of graphs that compute in them
_LOW_DISK = 500e6


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What.
        state: "absent" is no fault: an engine that is not installed.
        detail: What was found.
        fix: The next command, of a problem.
        exit_code: How a command ends that meets this problem; 0 otherwise.
    """

    subject: str
    state: State
    detail: str
    fix: str = ""
    exit_code: int = 0


def examine(bundle: str | os.PathLike[str] | None) -> Iterator[Finding]:
    """Looks at everything, one finding after the other.

    Args:
        bundle: A bundle's folder; the demo bundle that comes with the package when None.
    """
    yield Finding(
        "system",
        "ok",
        f"refinestyle {__version__}, Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} CPUs",
    )
    yield Finding("packages", "ok", ", ".join(f"{k} {v}" for k, v in versions().items()))
    yield from _conflicts(set(_installed_names()))
    loaded = []
    for finding, provider in _engines():
        yield finding
        loaded += [provider] if finding.state == "ok" else []
    if not loaded:
        yield _problem("engines", ResourceError("no engine works", hint='pip install ".[cpu]"'))
    yield from _bundle(bundle, loaded)
    yield Finding("cache", "ok", "none: graphs are opened from hashed bytes each time")
    yield from _disk()


def versions() -> dict[str, str]:
    """Versions of the packages that matter, those that are installed."""
    found = _installed_names()
    return {name: found[name] for name in PACKAGES if name in found}


def _installed_names() -> dict[str, str]:
    return {own.name.lower().replace("_", "-"): own.version for own in metadata.distributions()}


def _conflicts(names: set[str]) -> Iterator[Finding]:
    for group in _OVERWRITING:
        both = [name for name in group if name in names]
        if len(both) > 1:
            keep = both[1] if both[0] == "onnxruntime" else both[0]
            fix = f"pip uninstall -y {' '.join(both)} && pip install {keep}"
            detail = f"{' and '.join(both)} overwrite each other's files"
            yield Finding("conflict", "problem", detail, fix, ResourceError.exit_code)


def _engines() -> Iterator[tuple[Finding, str]]:
    """Opens a graph of one node with every provider, and runs it."""
    built, missing = installed()
    for provider, engine in providers().items():
        subject = f"provider {provider}"
        if provider not in built:
            detail = missing.get(engine, f"the installed {engine} or this machine has it not")
            yield Finding(subject, "absent", detail), provider
            continue
        if engine in _OWN_GRAPHS:
            detail = f"{_OWN_GRAPHS[engine]()}; the bundle's self-test runs its graphs"
            yield Finding(subject, "ok", detail), provider
            continue
        precision = "bf16" if provider == "openvino-bf16" else "fp32"
        variant = Variant("one.onnx", engine, precision, "plain", "dynamic")
        x = np.array([1, -2], np.float32)
        try:
            session = open_engine(provider, "one node", Chosen(variant, _ONE_NODE, {"x": [2]}), 1)
            y = session.run({"x": x})["y"]
            if not np.array_equal(y, -x):
                raise NumericsError("one node gave wrong numbers", found=str(y), expected=str(-x))
        except RefineStyleError as error:
            yield _problem(subject, error), provider
        else:
            yield Finding(subject, "ok", f"{engine}, a graph of one node ran"), provider


def _bundle(path: str | os.PathLike[str] | None, loaded: list[str]) -> Iterator[Finding]:
    try:
        if path is None:
            from rs_runtime.pipeline import demo_bundle

            path = demo_bundle()
        bundle = read_bundle(path)
        bundle.verify()
    except RefineStyleError as error:
        yield _problem("bundle", error)
        return
    manifest = bundle.manifest
    size = sum(entry.size for entry in manifest.files.values())
    detail = f"{bundle.root}: {manifest.model}, {len(manifest.files)} files, {size / 1e6:.1f} MB"
    yield Finding("bundle", "ok", f"{detail}, all as listed")
    if has_prompts(bundle):
        yield _prompts(bundle)
    for provider in loaded:
        yield _self_test(bundle, provider)


def _prompts(bundle: Bundle) -> Finding:
    """Reads a prompt with the bundle's tokenizer, which is an extra."""
    try:
        PromptReader(bundle).read("a drawing")
    except ResourceError as error:
        return Finding("prompts", "absent", f"{error.what}: {error.hint}")
    except RefineStyleError as error:
        return _problem("prompts", error)
    return Finding("prompts", "ok", f"the bundle knows {read_settings(bundle).knows}")


def _self_test(bundle: Bundle, provider: str) -> Finding:
    """Runs every role's stored example and compares with what was stored."""
    subject = f"self-test {provider}"
    manifest = bundle.manifest
    try:
        for name, role in manifest.roles.items():
            choose_variant(name, role, provider)
    except RefineStyleError as error:
        return Finding(subject, "absent", error.what)
    if not manifest.golden:
        return Finding(subject, "absent", "the bundle carries no golden data")
    roles = RoleRunner(bundle, EngineOptions(provider))
    try:
        for golden in manifest.golden:
            variant = choose_variant(golden.role, manifest.roles[golden.role], provider)
            _check_golden(bundle, roles, golden, variant.precision)
    except RefineStyleError as error:
        return _problem(subject, error)
    return Finding(subject, "ok", f"{len(manifest.golden)} roles gave what the exporter stored")


def _check_golden(bundle: Bundle, roles: RoleRunner, golden: Golden, precision: str) -> None:
    inputs = {name: _array(bundle, path) for name, path in golden.inputs.items()}
    found = roles.run(golden.role, **inputs)
    for name, path in golden.outputs.items():
        expected = _array(bundle, path).astype(np.float64)
        error = np.abs(found[name] - expected)
        if precision in _LEAST_DB:
            limit = np.ptp(expected) * 10 ** (-_LEAST_DB[precision] / 20)
            worst = float(np.sqrt(np.mean(error**2)))
        else:
            limit, worst = golden.max_abs[name], float(error.max())
        if not worst <= limit:
            raise NumericsError(
                f"{golden.role}.{name} differs from the bundle's golden data",
                found=f"{worst:.3g}",
                expected=f"at most {limit:.3g}",
                hint="update the engine, or use another provider",
            )


def _array(bundle: Bundle, path: str) -> NDArray[np.generic]:
    try:
        return np.load(io.BytesIO(bundle.read(path)), allow_pickle=False)
    except ValueError as error:
        raise UsageError(f"{path}: golden data that cannot be read", found=str(error)) from error


def _disk() -> Iterator[Finding]:
    for name in dict.fromkeys([str(Path.cwd()), os.environ.get("TMPDIR", "/tmp")]):
        try:
            free = shutil.disk_usage(name).free
        except OSError as error:
            detail = error.strerror or str(error)
            yield Finding(f"disk {name}", "problem", detail, "", ResourceError.exit_code)
            continue
        low = free < _LOW_DISK
        yield Finding(
            f"disk {name}",
            "problem" if low else "ok",
            f"{free / 1e9:.1f} GB free",
            "make room: pictures are written aside and renamed" if low else "",
            ResourceError.exit_code if low else 0,
        )


def _problem(subject: str, error: RefineStyleError) -> Finding:
    detail = error.what + (f": {error.found}" if error.found else "")
    return Finding(subject, "problem", detail, error.hint, error.exit_code)
