"""Random heads as latents, and what a judge sees in their pictures, to fit directions to."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UsageError
from rs_runtime.contracts.files import read_file, write_atomic
from rs_train.generator import Generator
from rs_train.perceptual.metric import MetricNetwork

FORMAT = "refinestyle-samples"
_KEY = "refinestyle"
_MAX_BYTES = 4 << 30
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
    header = {
        "format": FORMAT,
        "version": 1,
        "fingerprint": generator.fingerprint(),
        "attributes": samples.attributes,
    }
    tensors = {"w": samples.w, "scores": samples.scores}
    write_atomic(path, safetensors.numpy.save(tensors, {_KEY: json.dumps(header)}))


def read_samples(path: Path, generator: Generator) -> Samples:
    """Read samples of this generator.

    Raises:
        MalformedFileError: Not a file that `write_samples` wrote.
        IncompatibleError: Drawn by another generator.
    """
    data = read_file(path, max_bytes=_MAX_BYTES, what="samples")
    hint = "delete it; it is made anew"
    try:
        tensors = safetensors.numpy.load(data)
        size = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_KEY])
        samples = Samples(tensors["w"], tensors["scores"], tuple(header["attributes"]))
        fingerprint = header["fingerprint"]
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise MalformedFileError(f"{path}: not a file of scored heads", hint=hint) from error
    if fingerprint != generator.fingerprint():
        raise IncompatibleError(
            f"{path}: heads of another generator",
            found=fingerprint[:12],
            expected=generator.fingerprint()[:12],
            hint=hint,
        )
    return samples
