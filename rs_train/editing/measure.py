"""What edits do to held-out portraits, by a judge that nothing was fitted with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rs_runtime.contracts.directions import Direction
from rs_runtime.contracts.errors import UsageError
from rs_runtime.pipeline import Runtime
from rs_train.perceptual.labelled import LabelledPortraits
from rs_train.perceptual.metric import MetricNetwork
from rs_train.pixels import from_levels

_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Means over the portraits of one edit at the strengths −1 and 1.

    Attributes:
        edit: Its name, which is also the attribute it is for.
        kind: Of the direction.
        less: Change of the attribute at −1, in standard deviations of the judge's portraits.
        more: At 1.
        side: The other attribute that changes most, either way.
        side_change: By how much, the mean of the sizes at both ends.
        identity: Cosine of the judge's identities, to the unedited reconstruction; of strangers it
            is near `strangers`.
        strangers: The same between different people's reconstructions.
        sight: Correlation of the judge's score with the truth over the portraits themselves: how
            far to believe `less` and `more`.
    """

    edit: str
    kind: str
    less: float
    more: float
    side: str
    side_change: float
    identity: float
    strangers: float
    sight: float


def measure_edits(
    runtime: Runtime,
    directions: Sequence[Direction],
    portraits: LabelledPortraits,
    judge: MetricNetwork,
) -> list[Effect]:
    """Invert portraits with a bundle, edit them, and score what became of them.

    Args:
        runtime: The bundle.
        directions: Each named as the attribute it is for.
        portraits: Held-out portraits with their labels.
        judge: Knows the attributes; neither it nor its portraits had a part in the fit.

    Raises:
        UsageError: A direction whose name is no attribute that the judge knows.
    """
    unknown = [own.name for own in directions if own.name not in judge.config.attributes]
    if unknown:
        raise UsageError(
            f"the judge knows no attribute {unknown[0]!r}, so it can't say what the edit does",
            expected=", ".join(judge.config.attributes),
        )
    parts: list[list[tuple[Tensor, Tensor]]] = []
    truth = _score(judge, portraits.pictures.pixels(range(len(portraits))))[0]
    for start in range(0, len(portraits), _BATCH):
        rows = range(start, min(start + _BATCH, len(portraits)))
        inversion = runtime.invert(list(portraits.pictures.pixels(rows)), check=False)
        edits = [None, *((own, sign) for own in directions for sign in (-1.0, 1.0))]
        parts.append([_score(judge, inversion.synthesize(edits=each)) for each in edits])
    columns = [_joined(column) for column in zip(*parts, strict=True)]
    plain, ends = columns[0], columns[1:]
    return [
        _effect(own, plain, ends[2 * n], ends[2 * n + 1], truth, portraits, judge)
        for n, own in enumerate(directions)
    ]


@torch.no_grad()
def _score(judge: MetricNetwork, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
    """Attributes [N, A] and identities [N, E] of uint8 [N, R, R, 3]."""
    found = judge(from_levels(torch.from_numpy(pictures).permute(0, 3, 1, 2)))
    return found["attributes"], found["identity"]


def _joined(column: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    attributes, identities = zip(*column, strict=True)
    return torch.cat(attributes), torch.cat(identities)


def _effect(
    direction: Direction,
    plain: tuple[Tensor, Tensor],
    less: tuple[Tensor, Tensor],
    more: tuple[Tensor, Tensor],
    truth: Tensor,
    portraits: LabelledPortraits,
    judge: MetricNetwork,
) -> Effect:
    index = judge.config.attributes.index(direction.name)
    changes = torch.stack([(end[0] - plain[0]).mean(dim=0) for end in (less, more)])
    sizes = changes.abs().mean(dim=0)
    others = sizes.clone()
    others[index] = -1
    side = int(others.argmax())
    known = portraits.labels.attribute_names.index(direction.name)
    pair = torch.stack([truth[:, index], portraits.labels.attributes[:, known]])
    same = [F.cosine_similarity(end[1], plain[1]).mean() for end in (less, more)]
    strangers = F.cosine_similarity(plain[1], plain[1].roll(1, 0)).mean()
    return Effect(
        edit=direction.name,
        kind=direction.kind,
        less=float(changes[0, index]),
        more=float(changes[1, index]),
        side=judge.config.attributes[side],
        side_change=float(sizes[side]),
        identity=float(sum(same) / 2),
        strangers=float(strangers),
        sight=float(torch.corrcoef(pair)[0, 1]),
    )
