"""Random heads as latents, and what a judge sees in their pictures, to fit directions to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rs_runtime.contracts.errors import MalformedFileError, UsageError
from rs_train.generator import Generator
from rs_train.generator.belongings import read_belongings, write_belongings
from rs_train.perceptual.metric import MetricNetwork

FORMAT = "refinestyle-samples"
_BATCH = 32


@dataclass(frozen=True)
class Samples:
    """Latents of M random heads with the scores of their attributes.

    Attributes:
        w: [M, w_dim].
        scores: [M, A], in standard deviations of the judge's portraits.
        attributes: Names of the A attributes.
    """

    w: np.ndarray
    scores: np.ndarray
    attributes: tuple[str, ...]

    def of(self, attribute: str) -> np.ndarray:
        """Scores [M] of one attribute.

        Raises:
            UsageError: The judge does not know it.
        """
        if attribute not in self.attributes:
            raise UsageError(
                f"the judge knows no attribute {attribute!r}", expected=", ".join(self.attributes)
            )
        return self.scores[:, self.attributes.index(attribute)]


@torch.no_grad()
def draw_samples(
    generator: Generator,
    judge: MetricNetwork,
    count: int,
    seed: int,
    done: Callable[[int], object] = lambda count: None,
) -> Samples:
    """Draw heads and score them.

    Args:
        generator: Draws them, without truncation.
        judge: Scores what it was trained on.
        count: Number of heads M.
        seed: Of the latents; the same on every machine.
        done: Told how many more heads are done.
    """
    source = torch.Generator().manual_seed(seed)
    device = next(generator.parameters()).device
    w, scores = [], []
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        z = torch.randn(size, generator.config.z_dim, generator=source).to(device)
        w.append(generator.mapping_network(z))
        pictures = generator.synthesis(w[-1][:, None].expand(-1, generator.num_ws, -1))
        scores.append(judge(pictures.clamp(-1, 1))["attributes"])
        done(size)
    return Samples(
        torch.cat(w).double().cpu().numpy(),
        torch.cat(scores).double().cpu().numpy(),
        judge.config.attributes,
    )


def write_samples(path: Path, samples: Samples, generator: Generator) -> None:
    """Write samples as safetensors that name their generator."""
    tensors = {"w": torch.from_numpy(samples.w), "scores": torch.from_numpy(samples.scores)}
    write_belongings(path, FORMAT, generator, tensors, attributes=samples.attributes)


def read_samples(path: Path, generator: Generator) -> Samples:
    """Read samples of this generator.

    Raises:
        MalformedFileError: Not a file that `write_samples` wrote.
        IncompatibleError: Drawn by another generator.
    """
    remedy = "delete it; it is made anew"
    (w, scores), header = read_belongings(
        path, generator, ("w", "scores"), what="scored heads", remedy=remedy
    )
    if "attributes" not in header:
        raise MalformedFileError(f"{path}: not a file of scored heads", hint=remedy)
    return Samples(w.numpy(), scores.numpy(), tuple(header["attributes"]))
