"""A graph run on the host, its plugin nodes by the plugin's kernel or by the plugin itself."""

import ctypes
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from plugins.refined_conv import library
from rs_export import plugin_bodies
from rs_export.half_emulation import OPERATORS
from rs_export.intermediate import DOMAIN

Arrays = dict[str, np.ndarray]
# op_type, inputs by name, output to fill, slope and gain.
Evaluate = Callable[[str, Arrays, np.ndarray, float, float], None]


def run(
    model: onnx.ModelProto, evaluate: Evaluate, inputs: Mapping[str, np.ndarray]
) -> tuple[Arrays, list[str]]:
    """Run a graph without functions, its plugin nodes by `evaluate`.

    Returns:
        The outputs by name, and the op_type of every plugin node in the order of their runs.
    """
    seen: list[str] = []
    operators = [_operator(*kind, evaluate, seen) for kind in _kinds()]
    evaluator = ReferenceEvaluator(model, new_ops=[*OPERATORS, *operators])
    names = [value.name for value in model.graph.output]
    return dict(zip(names, evaluator.run(None, dict(inputs)), strict=True)), seen


def by_kernel(kernel: ctypes.CDLL) -> Evaluate:
    """Call the kernel's C function as the plugin's `enqueue` does."""

    def evaluate(op_type: str, given: Arrays, out: np.ndarray, slope: float, gain: float) -> None:
        n, c, h, w = out.shape
        geometry = op_type.removeprefix("RefineEpilogue").removesuffix("Dense").lower()
        call = library.RefineEpilogue(
            **{name: value.ctypes.data for name, value in given.items()},
            out=out.ctypes.data,
            batch=n,
            channels=c,
            height=h,
            width=w,
            rank=given["residual"].shape[1] if "P" in given else 0,
            noise_batch=given["noise"].size // (h * w),
            dtype=library.DTYPES[out.dtype.name],
            layout=library.LAYOUTS["channels_first"],
            geometry=library.GEOMETRIES[geometry],
            slope=slope,
            gain=gain,
        )
        library.call(kernel, call)

    return evaluate


def by_plugin(driver: ctypes.CDLL, plugin: Path) -> Evaluate:
    """Take the plugin of the node's name through its life cycle, with the node's attributes."""

    def evaluate(op_type: str, given: Arrays, out: np.ndarray, slope: float, gain: float) -> None:
        arrays = [*given.values(), out]
        sizes = [[a.ndim, *a.shape, *[0] * (8 - a.ndim)] for a in arrays]
        count = len(arrays)
        failed = driver.drive(
            str(plugin).encode(),
            op_type.encode(),
            ctypes.c_float(slope),
            ctypes.c_float(gain),
            False,
            count,
            (ctypes.c_int64 * (9 * count))(*np.ravel(sizes).tolist()),
            (ctypes.c_int32 * count)(*(library.DTYPES[a.dtype.name] for a in arrays)),
            (ctypes.c_int32 * count)(*[False] * count),
            (ctypes.c_void_p * count)(*(a.ctypes.data for a in arrays)),
        )
        assert not failed, driver.drive_failure().decode()

    return evaluate


def _kinds() -> Iterator[tuple[str, bool]]:
    for geometry in plugin_bodies.GEOMETRIES:
        for dense in (False, True):
            yield plugin_bodies.op_type(geometry, dense), dense


def _operator(op_type: str, dense: bool, evaluate: Evaluate, seen: list[str]) -> type[OpRun]:
    def _run(self: OpRun, *arrays: np.ndarray, slope: float, gain: float, **named: Any) -> Any:
        assert named == {"plugin_namespace": DOMAIN, "plugin_version": plugin_bodies.VERSION}
        names = plugin_bodies.inputs(dense)
        given = {n: np.ascontiguousarray(a) for n, a in zip(names, arrays, strict=True)}
        assert given["demodulation"].dtype == given["bias"].dtype == np.float32
        n, c, h, w = given["base"].shape
        less = op_type.startswith("RefineEpilogueUp")
        out = np.full((n, c, h - less, w - less), np.nan, given["base"].dtype)
        evaluate(op_type, given, out, slope, gain)
        seen.append(op_type)
        return (out,)

    return type(op_type, (OpRun,), {"op_domain": DOMAIN, "_run": _run})
