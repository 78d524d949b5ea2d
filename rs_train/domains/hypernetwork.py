"""A hypernetwork: from the embedding of a text or a picture to a domain, for many domains at once.

HyperDomainNet (Alanov, Titov and Vetrov, NeurIPS 2022) predicts the domain modulation m. The same
network with other last layers predicts RefineStyle's tokens P and Q.
"""

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.contracts.tokens import fingerprint_synthesis
from rs_train.generator import Generator, PackedTokens
from rs_train.inverters.refine import FFHQ_CONVS
from rs_train.perceptual.clip import ClipGuide

Predicts = Literal["modulation", "tokens"]


@dataclass(frozen=True, kw_only=True)
class HyperDomainNetConfig:
    """Sizes of a hypernetwork; the defaults are the published ones for 1024² faces and ViT-B/32.

    Attributes:
        conv_channels: (Cin, Cout) of every convolution of the synthesis, in layer-table order.
        predicts: "modulation" for m, as published, or "tokens" for P and Q.
        rank: Tokens: rows of P and Q a layer, L.
        scale_init: Tokens: first value of the scales A and B.
        embed_dim: Length of the embeddings.
        width: Of all hidden layers.
        trunk_depth: Layers that all convolutions share: a linear one, then residual blocks.
        head_depth: Layers of each convolution's own: residual blocks, then a linear one.
        clip: Fingerprint of the CLIP whose embeddings it reads; empty for any.
        generator: Fingerprint of the generator that it changes; empty for any.
    """

    conv_channels: tuple[tuple[int, int], ...] = FFHQ_CONVS
    predicts: Predicts = "modulation"
    rank: int = 8
    scale_init: float = 0.1
    embed_dim: int = 512
    width: int = 512
    trunk_depth: int = 4
    head_depth: int = 2
    clip: str = ""
    generator: str = ""


class ResidualBlock(nn.Module):
    """Two linear layers with batch normalisation beside a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, width] to the same shape."""
        return torch.relu(x + self.inner(x))


class HyperDomainNet(nn.Module):
    """Embedding of a text or a picture to the domain that it names or shows.

    A trunk that all convolutions share, then a head a convolution, which says m - 1 of its input
    channels, or the rows of its P and Q. These are scaled by A and B, one a row and convolution
    (RefineStyle, Eq. 4), which no look changes.
    """

    kind: ClassVar[str] = "hypernetwork"

    def __init__(self, config: HyperDomainNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.trunk = nn.Sequential(
            nn.Linear(config.embed_dim, width),
            nn.ReLU(),
            nn.BatchNorm1d(width),
            *(ResidualBlock(width) for _ in range(config.trunk_depth - 1)),
        )
        self.heads = nn.ModuleList(
            nn.Sequential(
                *(ResidualBlock(width) for _ in range(config.head_depth - 1)),
                nn.Linear(width, self._outputs(cin, cout)),
            )
            for cin, cout in config.conv_channels
        )
        self._initialise()

    def _outputs(self, cin: int, cout: int) -> int:
        return cin if self.config.predicts == "modulation" else self.config.rank * (cin + cout)

    def _initialise(self) -> None:
        """All but no change at first, as published: last layers near zero, and Q's bias N(0, 1)."""
        if self.config.predicts == "tokens":
            shape = (len(self.config.conv_channels), self.config.rank)
            self.A = nn.Parameter(torch.full(shape, self.config.scale_init))
            self.B = nn.Parameter(torch.full(shape, self.config.scale_init))
        for head, (_, cout) in zip(self.heads, self.config.conv_channels, strict=True):
            last = head[-1]
            nn.init.xavier_uniform_(last.weight, gain=0.01)
            nn.init.zeros_(last.bias)
            if self.config.predicts == "tokens":
                rows = last.bias.detach().unflatten(0, (self.config.rank, -1))
                nn.init.normal_(rows[:, cout:])

    def forward(self, embedding: Tensor) -> PackedTokens:
        """Map unit vectors [N, embed_dim], fp32, to a domain a row."""
        shared = self.trunk(embedding)
        said = [head(shared) for head in self.heads]
        if self.config.predicts == "modulation":
            return PackedTokens(modulation=1 + torch.cat(said, dim=1))
        P, Q = zip(*(self._factors(n, x) for n, x in enumerate(said)), strict=True)
        return PackedTokens(P=torch.cat(P, dim=2), Q=torch.cat(Q, dim=2))

    def _factors(self, n: int, said: Tensor) -> tuple[Tensor, Tensor]:
        """P [N, L, Cout] and Q [N, L, Cin] of convolution n from what its head said."""
        cin, cout = self.config.conv_channels[n]
        P, Q = said.unflatten(1, (self.config.rank, cout + cin)).split((cout, cin), dim=2)
        return self.A[n][:, None] * P, self.B[n][:, None] * Q


def clip_fingerprint(clip: ClipGuide) -> str:
    """SHA-256 that names a CLIP: of its network's fp32 tensors and of what its tokenizer is."""
    state = {name: x for name, x in clip.network.state_dict().items() if x.is_floating_point()}
    digest = fingerprint_synthesis({name: x.float().cpu().numpy() for name, x in state.items()})
    tokenizer = getattr(getattr(clip, "config", None), "tokenizer", "")
    return hashlib.sha256((digest + tokenizer).encode()).hexdigest() if tokenizer else digest


def require_match(network: HyperDomainNet, generator: Generator, clip: ClipGuide) -> None:
    """Refuse a hypernetwork beside a generator or a CLIP that it was not trained with.

    Raises:
        IncompatibleError: One of them is another.
    """
    found = {"generator": generator.fingerprint(), "clip": clip_fingerprint(clip)}
    for what, fingerprint in found.items():
        expected = getattr(network.config, what)
        if expected and expected != fingerprint:
            raise IncompatibleError(
                f"the hypernetwork was trained with another {what}",
                found=fingerprint[:12],
                expected=expected[:12],
                hint=f"give it the {what} of its training, or train one with rs-train hypernetwork",
            )
