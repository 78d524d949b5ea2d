"""GANSpace (Härkönen et al., arXiv 2004.02546): principal components of w."""

import numpy as np
from sklearn.decomposition import PCA

from rs_train.editing.public_files import Components
from rs_train.editing.samples import Samples

_COUNT = 80  # of components, as in GANSpace


def fit_components(samples: Samples) -> Components:
    """Principal components of the heads' w, the widest first.

    Args:
        samples: The heads; their scores play no part.
    """
    found = PCA(min(_COUNT, *samples.w.shape), svd_solver="full").fit(samples.w)
    deviation = np.sqrt(found.explained_variance_)
    return Components(found.mean_, deviation, found.components_)


def component_for(samples: Samples, components: Components, attribute: str) -> tuple[int, float]:
    """The component whose coordinate follows an attribute best, and their correlation.

    Raises:
        UsageError: The judge does not know the attribute.
    """
    coordinates = (samples.w - components.mean) @ components.components.T
    scores = samples.of(attribute)
    correlation = [np.corrcoef(column, scores)[0, 1] for column in coordinates.T]
    best = int(np.argmax(np.abs(correlation)))
    return best, float(correlation[best])
