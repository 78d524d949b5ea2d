"""The light discriminator."""

import torch

from rs_train.domains.discriminator import DomainDiscriminator


def test_a_map_of_logits_a_branch() -> None:
    torch.manual_seed(0)
    discriminator = DomainDiscriminator(4, feature_channels=(5, 6))
    maps = [torch.randn(2, 5, 16, 16), torch.randn(2, 6, 8, 8)]
    logits = discriminator(torch.rand(2, 3, 64, 64), maps)
    assert [tuple(x.shape) for x in logits] == [
        (2, 1, 8, 8),
        (2, 1, 4, 4),
        (2, 1, 8, 8),
        (2, 1, 4, 4),
    ]


def test_place_matters_to_the_patches() -> None:
    torch.manual_seed(0)
    discriminator = DomainDiscriminator(4)
    picture = torch.rand(1, 3, 64, 64)
    for turned, logits in zip(discriminator(picture.flip(3)), discriminator(picture), strict=True):
        assert (turned.flip(3) - logits).abs().max() > 1e-4
    flat = discriminator(torch.zeros(1, 3, 64, 64))[0]
    assert flat.std() > 1e-4


def test_feature_branches_ignore_the_scale_of_the_maps() -> None:
    torch.manual_seed(0)
    discriminator = DomainDiscriminator(4, feature_channels=(5,))
    image, features = torch.rand(2, 3, 32, 32), torch.randn(2, 5, 16, 16)
    plain = discriminator(image, [features])[2]
    scaled = discriminator(image, [7 * features])[2]
    torch.testing.assert_close(scaled, plain, rtol=1e-3, atol=1e-5)
