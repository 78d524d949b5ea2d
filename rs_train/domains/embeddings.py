"""Embeddings of many domains: of their texts and pictures, and of what lies between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Dirichlet

from rs_train.domains.pictures import DomainPictures
from rs_train.perceptual.clip import ClipGuide

_BATCH = 32


@dataclass(frozen=True)
class DomainEmbeddings:
    """What a CLIP says of domains; all vectors [..., D] are of unit length.

    Attributes:
        texts: By domain, its wordings [W, D], raw.
        targets: First wordings in the CLIP's templates [domains, T, D].
        source: What the generator draws, in the same templates [T, D].
        pictures: Pictures of the domains [domains, M, D], or None.
    """

    texts: list[Tensor]
    targets: Tensor
    source: Tensor
    pictures: Tensor | None

    def draw(self, domains: Tensor, picture_share: float) -> Tensor:
        """A random text or picture [N, D] of each of the domains [N]."""
        drawn = []
        for domain in domains.tolist():
            choices = self.texts[domain]
            if self.pictures is not None and torch.rand(()) < picture_share:
                choices = self.pictures[domain]
            drawn.append(choices[torch.randint(len(choices), ())])
        return torch.stack(drawn)


@torch.no_grad()
def embed_domains(
    clip: ClipGuide,
    prompts: Mapping[str, Sequence[str]],
    source: str,
    pictures: DomainPictures | None,
    device: torch.device,
) -> DomainEmbeddings:
    """Ask a CLIP.

    Args:
        clip: The network.
        prompts: Wordings by domain; the first names its direction.
        source: What the generator draws.
        pictures: Of the same domains in the same order, or None.
        device: Where the network is.
    """
    return DomainEmbeddings(
        texts=[clip.embed_text(wordings) for wordings in prompts.values()],
        targets=torch.stack([clip.embed_prompt(wordings[0]) for wordings in prompts.values()]),
        source=clip.embed_prompt(source),
        pictures=None if pictures is None else _embed_pictures(clip, pictures, device),
    )


def _embed_pictures(clip: ClipGuide, pictures: DomainPictures, device: torch.device) -> Tensor:
    """Unit vectors [domains, scenes, D]."""
    parts = [part for n in range(pictures.domains) for part in pictures.all(n).split(_BATCH)]
    embedded = torch.cat([clip.embed_image(part.to(device)) for part in parts])
    return embedded.unflatten(0, (pictures.domains, pictures.scenes))


def draw_mixtures(count: int, of: int) -> Tensor:
    """Weights [count, of] of convex combinations, each row from Dirichlet(2 / of, ...).

    Source: HyperDomainNet (Alanov et al. 2022), released code: most rows are all but one of the
    embeddings, some lie between two or three.
    """
    return Dirichlet(torch.full((of,), 2 / of)).sample((count,))


def mixed(embeddings: Tensor, weights: Tensor) -> Tensor:
    """Points of the convex hull, pushed back to the sphere.

    Args:
        embeddings: Unit vectors [B, ..., D].
        weights: [N, B], rows that sum to 1.

    Returns:
        Unit vectors [N, ..., D].
    """
    return F.normalize(torch.tensordot(weights, embeddings, dims=1), dim=-1)


def resampled(embeddings: Tensor, least_cosine: float) -> Tensor:
    """A random unit vector near each one.

    Args:
        embeddings: Unit vectors [..., D].
        least_cosine: The cosine with the given vector is uniform from here to 1.

    Source: HyperDomainNet (Alanov et al. 2022), section 3.3; as its released code draws them, from
    a uniform cube and not from the sphere.
    """
    drawn = 2 * torch.rand_like(embeddings) - 1
    along = (drawn * embeddings).sum(dim=-1, keepdim=True)
    across = F.normalize(drawn - along * embeddings, dim=-1)
    cosine = least_cosine + (1 - least_cosine) * torch.rand_like(along)
    return cosine * embeddings + (1 - cosine.square()).sqrt() * across
