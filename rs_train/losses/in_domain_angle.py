"""In-domain angles: pictures that were alike stay as alike as they were."""

from torch import Tensor

from rs_train.losses.pairs import pairs_of


def in_domain_angle_loss(source: Tensor, target: Tensor) -> Tensor:
    """Change of the cosines between the pictures of a batch, which keeps a domain diverse.

    Args:
        source: Unit vectors [N, D] of the pictures before, N >= 2.
        target: Unit vectors [N, D] of the same pictures after.

    Returns:
        Scalar in [0, 4]: the mean over pairs i > j of (<s_i, s_j> - <t_i, t_j>)^2.

    Raises:
        ValueError: A batch of one has no pairs.

    Source: HyperDomainNet (Alanov et al. 2022), the in-domain angle consistency loss; its released
    code averages the pairs below the diagonal.
    """
    if len(source) < 2:
        raise ValueError("a batch of one picture has no angles")
    rows, columns = pairs_of(source)
    change = source @ source.T - target @ target.T
    return change[rows, columns].square().mean()
