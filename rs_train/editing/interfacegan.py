"""InterFaceGAN (Shen et al., arXiv 2005.09635): the normal of the plane between two kinds of w."""

from collections.abc import Sequence

import numpy as np
from sklearn.svm import LinearSVC

from rs_runtime.contracts.errors import NumericsError, UsageError
from rs_train.editing.samples import Samples

_SOFTNESS = 1e-3  # small: a wide margin, so that the normal follows all heads and not the few odd


def fit_normal(
    samples: Samples, attribute: str, *, share: float, keep: Sequence[str] = ()
) -> np.ndarray:
    """Fit a linear SVM to the heads with the most and the least of an attribute.

    Args:
        samples: The heads.
        attribute: Which.
        share: Part of the heads at either end that the plane has to part.
        keep: Attributes to hold: the parts of the normal along theirs are removed
            ("conditional manipulation").

    Returns:
        Unit normal [w_dim], pointing to more of the attribute.

    Raises:
        UsageError: An attribute that the judge does not know, or too few heads.
        NumericsError: Nothing is left of the normal.
    """
    normal = _normal(samples, attribute, share)
    if keep:
        held = np.stack([_normal(samples, other, share) for other in keep], axis=1)
        basis, _ = np.linalg.qr(held)
        normal = normal - basis @ (basis.T @ normal)
    length = np.linalg.norm(normal)
    if not length > 1e-3:
        raise NumericsError(
            f"{attribute}: no direction is left beside {', '.join(keep)}", hint="keep less"
        )
    return normal / length


def _normal(samples: Samples, attribute: str, share: float) -> np.ndarray:
    order = np.argsort(samples.of(attribute), kind="stable")
    count = round(share * len(order))
    if not 2 <= count <= len(order) // 2:
        raise UsageError(
            f"{count} heads at either end are too few or too many to part",
            found=f"a share of {share:g} of {len(order)} heads",
            expected="a share up to 0.5 of more heads",
        )
    ends = np.concatenate([order[:count], order[-count:]])
    is_more = np.repeat([0, 1], count)
    # Standardised, so that the regularisation means the same for every generator; back in units
    # of w the plane's normal is divided by the deviations.
    deviation = samples.w.std(axis=0)
    machine = LinearSVC(C=_SOFTNESS, dual=False).fit(samples.w[ends] / deviation, is_more)
    normal = machine.coef_[0] / deviation
    return normal / np.linalg.norm(normal)
