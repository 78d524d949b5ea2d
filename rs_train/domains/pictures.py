"""Pictures of the same scenes in many domains, a folder a domain."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from rs_runtime.contracts.errors import UsageError
from rs_train.data import ImageFolder


class DomainPictures:
    """Items are a domain and some scenes in it; one follows the other through all of both.

    Args:
        root: Has a folder a domain, each with the same number of pictures: in sorted order those of
            the same scenes.
        domains: Names of the folders.
        size: Side that pictures are resized to.
        heads: Scenes of an item.

    Raises:
        UsageError: A folder is missing, or one has more pictures than another.
    """

    def __init__(self, root: Path, domains: Sequence[str], size: int, heads: int) -> None:
        self.pictures = ImageFolder([root / name for name in domains], size)
        self.domains, self.heads = len(domains), heads
        self.scenes, rest = divmod(len(self.pictures), self.domains)
        counts = [len(ImageFolder(root / name, size)) for name in domains] if rest else []
        if rest or len({path.parent for path in self.pictures.paths}) != self.domains:
            raise UsageError(
                f"{root}: the domains' folders do not show the same scenes",
                found=", ".join(f"{n}" for n in counts),
                expected="as many pictures in each",
            )

    def __len__(self) -> int:
        """Number of items."""
        return self.domains * self.scenes

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Items as the training loop takes them.

        Returns:
            "domain" int64 [N]; "scene" int64 [N, heads]; "image" float32 [N, heads, 3, S, S] in
            [-1, 1], the scenes in the domain.
        """
        scene, domain = torch.tensor(indices)[:, None] // self.domains, torch.tensor(indices)
        domain = domain % self.domains
        scene = (scene + torch.arange(self.heads)) % self.scenes
        places = domain[:, None] * self.scenes + scene
        image = self.pictures.images(places.flatten().tolist())
        return {"domain": domain, "scene": scene, "image": image.unflatten(0, scene.shape)}

    def all(self, domain: int) -> Tensor:
        """All scenes in one domain [scenes, 3, S, S] in [-1, 1]."""
        start = domain * self.scenes
        return self.pictures.images(range(start, start + self.scenes))
