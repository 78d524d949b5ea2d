"""The TensorRT plugins, driven through their life cycle by TensorRT's genuine headers."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from plugins.refined_conv import library
from tests.plugins.layer_case import GAIN, SLOPE, LayerCase, arguments, operands, result

TOLERANCES = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


def drive(
    built: tuple[ctypes.CDLL, Path], case: LayerCase, integer_slope: bool = False
) -> tuple[str, float]:
    """Return what failed ("" for nothing), and the error relative to the oracle's result."""
    driver, plugin = built
    parts = operands(case)
    filled = arguments(case, parts)
    n, c, _, _ = parts.expected.shape
    shapes = [parts.base.shape, parts.residual.shape]
    pointers = [filled.base, filled.residual]
    if not case.dense:
        shapes.append(parts.P.shape)
        pointers.append(filled.P)
    shapes += [(n, c), (len(parts.noise), 1, *parts.expected.shape[2:]), (c,), parts.expected.shape]
    pointers += [filled.demodulation, filled.noise, filled.bias, filled.out]
    maps = {0, 1, len(shapes) - 1}
    floats = {len(shapes) - 4, len(shapes) - 2}
    last = case.layout == "channels_last"
    sizes = [[len(shape), *shape, *[0] * (8 - len(shape))] for shape in shapes]
    types = [0 if i in floats else library.DTYPES[case.dtype] for i in range(len(shapes))]
    vectors = [last and i in maps for i in range(len(shapes))]
    failed = driver.drive(
        str(plugin).encode(),
        f"RefineEpilogue{case.geometry.title()}{'Dense' if case.dense else ''}".encode(),
        ctypes.c_float(SLOPE),
        ctypes.c_float(GAIN),
        integer_slope,
        len(shapes),
        (ctypes.c_int64 * (9 * len(shapes)))(*np.ravel(sizes).tolist()),
        (ctypes.c_int32 * len(shapes))(*types),
        (ctypes.c_int32 * len(shapes))(*vectors),
        (ctypes.c_void_p * len(shapes))(*pointers),
    )
    if failed:
        return driver.drive_failure().decode(), float("nan")
    error = np.linalg.norm(result(case, parts) - parts.expected)
    return "", float(error / np.linalg.norm(parts.expected))


@pytest.mark.parametrize("dtype", library.DTYPES)
@pytest.mark.parametrize("dense", [False, True], ids=["low_rank", "dense"])
@pytest.mark.parametrize("geometry", library.GEOMETRIES)
def test_life_cycle_ends_in_the_oracles_result(
    built: tuple[ctypes.CDLL, Path], geometry: str, dense: bool, dtype: str
) -> None:
    case = LayerCase(geometry, dtype, dense=dense, batch=2, inputs=16, outputs=24, ranks=(8, 3))
    for layout in ["channels_first"] + ["channels_last"] * (dtype != "float32"):
        failure, error = drive(built, LayerCase(**(vars(case) | {"layout": layout})))
        assert failure == ""
        assert error <= TOLERANCES[dtype]


@pytest.mark.parametrize(
    ("dtype", "outputs"), [("float32", 8), ("float16", 12)], ids=["float32", "padded vectors"]
)
def test_vectors_of_channels_are_refused_where_they_do_not_fit(
    built: tuple[ctypes.CDLL, Path], dtype: str, outputs: int
) -> None:
    case = LayerCase(dtype=dtype, layout="channels_last", dense=True, outputs=outputs)
    assert drive(built, case)[0].startswith("format refused")


def test_attribute_of_another_type_makes_no_plugin(built: tuple[ctypes.CDLL, Path]) -> None:
    assert drive(built, LayerCase(), integer_slope=True)[0] == "createPlugin"


def test_library_needs_nothing_of_nvinfer(built: tuple[ctypes.CDLL, Path]) -> None:
    listed = subprocess.run(["nm", "-D", str(built[1])], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    undefined = {row[-1] for row in rows if row[-2] == "U"}
    exported = {row[-1] for row in rows if row[-2] == "T"}
    assert exported == {"getCreators", "setLoggerFinder"}
    assert not [name for name in undefined if "nvinfer" in name.lower() or "Plugin" in name]
