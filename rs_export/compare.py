"""How different two arrays are, and how different they may be."""

from dataclasses import dataclass

import numpy as np

from rs_runtime.contracts.errors import NumericsError


@dataclass(frozen=True)
class Difference:
    """Distance of an array from its reference.

    Attributes:
        max_abs: Largest absolute difference; grey levels for uint8.
        psnr_db: Peak signal-to-noise ratio; None when nothing differs. The peak is 255 for uint8
            and the reference's range otherwise.
    """

    max_abs: float
    psnr_db: float | None

    def rounded(self) -> dict[str, float | None]:
        """Four significant digits, as stored in a manifest."""
        return {
            "max_abs": float(f"{self.max_abs:.4g}"),
            "psnr_db": None if self.psnr_db is None else round(self.psnr_db, 2),
        }


@dataclass(frozen=True)
class Tolerance:
    """What may differ; a limit that is None is not asked for.

    Attributes:
        max_abs: Largest absolute difference of floats, for values of a mean square up to 1; of
            larger ones it grows with their root mean square, as rounding does.
        max_levels: Largest difference of uint8 values.
        min_psnr_db: Smallest peak signal-to-noise ratio.
    """

    max_abs: float | None = None
    max_levels: int | None = None
    min_psnr_db: float | None = None


FP32 = Tolerance(max_abs=1e-3, max_levels=1)
FP16_STORED = Tolerance(min_psnr_db=40.0)
FP16 = Tolerance(min_psnr_db=40.0)
BF16 = Tolerance(min_psnr_db=38.0)
TOLERANCES = {"fp32": FP32, "fp16_stored": FP16_STORED, "fp16": FP16, "bf16": BF16}


def difference(found: np.ndarray, expected: np.ndarray) -> Difference:
    """Measure `found` against `expected`, arrays of one shape; NaN in either gives NaN."""
    left, right = found.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, which is reported
        error = np.abs(left - right)
    square = float(np.mean(error**2))
    if square == 0:
        return Difference(0.0, None)
    peak = 255.0 if expected.dtype == np.uint8 else float(right.max() - right.min())
    with np.errstate(divide="ignore"):
        psnr = float(10 * np.log10(peak**2 / square))
    return Difference(float(error.max()), psnr)


def require(
    found: np.ndarray, expected: np.ndarray, tolerance: Tolerance, where: str
) -> Difference:
    """Measure a difference and insist on its being tolerable.

    Args:
        found: What a graph gave.
        expected: What it had to give.
        tolerance: How far they may be apart.
        where: Names the value in messages.

    Raises:
        NumericsError: Too far apart, another shape or dtype, or not finite.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise NumericsError(
            f"parity: {where} is another kind of array",
            found=f"{found.dtype} {list(found.shape)}",
            expected=f"{expected.dtype} {list(expected.shape)}",
        )
    measured = difference(found, expected)
    limit = tolerance.max_levels if expected.dtype == np.uint8 else _scaled(tolerance, expected)
    # Written so that NaN fails.
    if limit is not None and not measured.max_abs <= limit:
        raise _beyond(where, f"difference {measured.max_abs:.3g}", f"at most {limit:g}")
    least = tolerance.min_psnr_db
    if least is not None and measured.psnr_db is not None and not measured.psnr_db >= least:
        raise _beyond(where, f"{measured.psnr_db:.1f} dB", f"at least {least:g} dB")
    return measured


def _scaled(tolerance: Tolerance, expected: np.ndarray) -> float | None:
    if tolerance.max_abs is None:
        return None
    size = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
    # What is not finite must not raise the limit.
    return tolerance.max_abs * (max(1.0, size) if np.isfinite(size) else 1.0)


def _beyond(where: str, found: str, expected: str) -> NumericsError:
    return NumericsError(
        f"parity: {where} is beyond its tolerance",
        found=found,
        expected=expected,
        hint="nothing was written; export without --fp16, or check the checkpoint",
    )
