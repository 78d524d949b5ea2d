"""Random views."""

import torch

from rs_train.perceptual.augment import Augmentation, apply_view, augment, draw_view

CPU = torch.device("cpu")


def test_strength_zero_changes_nothing() -> None:
    image = torch.rand(2, 3, 8, 8) * 2 - 1
    assert torch.equal(augment(image, Augmentation()), image)


def test_flip_mirrors() -> None:
    image = torch.rand(2, 3, 8, 8) * 2 - 1
    torch.testing.assert_close(augment(image, Augmentation(flip=1.0)), image.flip(3))


def test_crops_stay_inside_the_picture() -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(-1, 1, 32).expand(64, 3, 32, 32)
    views = augment(ramp, Augmentation(crop=0.5))
    spread = views[:, 0, 0, -1] - views[:, 0, 0, 0]
    assert (views.diff(dim=3) >= 0).all()  # no mirrored border
    assert spread.min() >= 0.5 * 2 * 31 / 32 - 0.1
    assert spread.max() - spread.min() > 0.5  # sizes vary
    assert views.mean(dim=(1, 2, 3)).std() > 0.05  # places vary


def test_one_view_shows_two_batches_alike() -> None:
    torch.manual_seed(0)
    first, second = torch.rand(3, 3, 8, 8) - 0.5, torch.rand(3, 3, 8, 8) - 0.5
    view = draw_view(3, Augmentation(flip=0.5, crop=0.3, colour=0.1), CPU)
    # a view without noise is linear up to its offset, as long as nothing is clamped
    mean = apply_view((first + second) / 2, view)
    both = (apply_view(first, view) + apply_view(second, view)) / 2
    torch.testing.assert_close(mean, both, atol=1e-5, rtol=0)


def test_views_pass_gradients_and_stay_in_range() -> None:
    image = torch.zeros(2, 3, 8, 8, requires_grad=True)
    view = augment(image, Augmentation(flip=0.5, crop=0.2, colour=0.1, noise=5.0))
    assert view.abs().max() <= 1
    augment(image, Augmentation(crop=0.2, colour=0.1)).sum().backward()
    assert torch.isfinite(image.grad).all() and image.grad.abs().sum() > 0
