"""Differences and tolerances."""

import numpy as np
import pytest

from rs_export.compare import FP16_STORED, FP32, difference, require
from rs_runtime.contracts.errors import NumericsError

ONES = np.linspace(-1, 1, 100, dtype=np.float32)


def test_difference_of_known_arrays() -> None:
    measured = difference(ONES + np.float32(0.02), ONES)
    assert measured.max_abs == pytest.approx(0.02, rel=1e-5)
    assert measured.psnr_db == pytest.approx(40.0, abs=0.01)  # 20 log10(2 / 0.02)
    assert difference(ONES, ONES).rounded() == {"max_abs": 0.0, "psnr_db": None}


@pytest.mark.parametrize(("offset", "ok"), [(0.9e-3, True), (1.1e-3, False)])
def test_fp32_tolerance(offset: float, ok: bool) -> None:
    shifted = ONES + np.float32(offset)
    if ok:
        assert require(shifted, ONES, FP32, "y").max_abs < 1e-3
    else:
        with pytest.raises(NumericsError, match="y is beyond"):
            require(shifted, ONES, FP32, "y")


def test_the_fp32_tolerance_grows_with_large_values() -> None:
    large = 100 * ONES  # root mean square 58
    require(large + np.float32(0.05), large, FP32, "y")
    with pytest.raises(NumericsError, match="y is beyond"):
        require(large + np.float32(0.07), large, FP32, "y")


@pytest.mark.parametrize(("offset", "ok"), [(0.0199, True), (0.0201, False)])
def test_fp16_tolerance_is_40_db(offset: float, ok: bool) -> None:
    shifted = ONES + np.float32(offset)
    if ok:
        require(shifted, ONES, FP16_STORED, "y")
    else:
        with pytest.raises(NumericsError, match="y is beyond"):
            require(shifted, ONES, FP16_STORED, "y")


@pytest.mark.parametrize("tolerance", [FP32, FP16_STORED])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_fails(tolerance, bad: float) -> None:
    broken = ONES.copy()
    broken[3] = bad
    for found, expected in ((broken, ONES), (ONES, broken), (broken, broken)):
        with pytest.raises(NumericsError):
            require(found, expected, tolerance, "y")


def test_another_shape_or_dtype_fails() -> None:
    for found in (ONES[:-1], ONES.astype(np.float64), ONES[None]):
        with pytest.raises(NumericsError, match="another kind of array"):
            require(found, ONES, FP32, "y")


def test_grey_levels_may_differ_by_one() -> None:
    grey = np.arange(10, dtype=np.uint8)
    require(grey + np.uint8(1), grey, FP32, "image")
    with pytest.raises(NumericsError):
        require(grey + np.uint8(2), grey, FP32, "image")
