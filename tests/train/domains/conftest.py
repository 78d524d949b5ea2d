"""A small generator, and pictures of its heads with their colours turned."""

import pytest
import torch
from torch import Tensor

from rs_train.domains.codes import Codes
from rs_train.generator import Generator, GeneratorConfig


@pytest.fixture(scope="session")
def generator() -> Generator:
    """32 x 32, w_dim 16, seven convolutions."""
    torch.manual_seed(0)
    generator = Generator(
        GeneratorConfig(channels=(16, 16, 16, 8), z_dim=16, w_dim=16, mapping_layers=2)
    )
    generator.update_latent_avg(samples=1000)
    return generator.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def codes(generator: Generator) -> Codes:
    """Six portraits with tokens of their own, rank 2."""
    torch.manual_seed(1)
    table = generator.table
    w_plus = generator.broadcast(generator.mapping(torch.randn(6, 16))).clone()
    return Codes(
        w_plus,
        0.1 * torch.randn(6, 2, table.sum_out),
        0.1 * torch.randn(6, 2, table.sum_in),
    )


class Pictures:
    """Items as `ImageFolder` gives them."""

    def __init__(self, image: Tensor) -> None:
        self.image = image

    def __len__(self) -> int:
        return len(self.image)

    def batch(self, indices: list[int]) -> dict[str, Tensor]:
        return {"image": self.image[indices], "index": torch.tensor(indices)}


@pytest.fixture
def truth(generator: Generator, codes: Codes) -> Pictures:
    """The six portraits, darker and with red and blue exchanged."""
    image = generator.synthesis(codes.w_plus, codes.tokens).clamp(-1, 1)
    return Pictures(image.flip(1) * 0.5 - 0.4)
