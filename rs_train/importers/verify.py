"""Compares an imported generator with the images that its own project computed."""

import re
from collections.abc import Callable
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from rs_runtime.contracts.errors import MalformedFileError, NumericsError
from rs_runtime.contracts.files import read_file
from rs_train.generator import Generator

TOLERANCE = 1e-4
_MAX_BYTES = 4 << 30
_TRUNCATED = re.compile(r"img_truncated_(\d+)_(\d+)")
_INPUTS = frozenset({"z", "w_plus"})


@torch.no_grad()
def compare(generator: Generator, path: Path) -> dict[str, float]:
    """Compute again what a reference file holds.

    Args:
        generator: The imported one.
        path: A safetensors file with the inputs z [N, z_dim] and w_plus [N, num_ws, w_dim] and any
            of: latent_avg, w, img_w (of z), img_truncated_0_7 (of z, at psi 0.7), img_w_plus, and
            img_no_noise (of w_plus). Elsewhere the noise is the stored one.

    Returns:
        The largest absolute difference of every output; infinite where a value is not finite.

    Raises:
        MalformedFileError: Not such a file.
    """
    expected = _read(path)
    errors = {}
    for key in expected.keys() - _INPUTS:
        compute = _computation(key)
        try:
            found = compute(generator, expected)
        except (KeyError, RuntimeError) as error:
            raise MalformedFileError(
                f"{path}: {key} cannot be computed from it", found=" ".join(str(error).split())
            ) from error
        if found.shape != expected[key].shape:
            raise MalformedFileError(
                f"{path}: {key} has another shape than this generator's",
                found=str(list(expected[key].shape)),
                expected=str(list(found.shape)),
            )
        difference = (found - expected[key]).abs().max().item()
        errors[key] = difference if difference == difference else float("inf")
    if not errors:
        raise MalformedFileError(f"{path}: nothing in it can be compared")
    return dict(sorted(errors.items()))


def require(errors: dict[str, float]) -> None:
    """Refuse errors beyond the tolerance.

    Raises:
        NumericsError: One is larger than 1e-4.
    """
    key = max(errors, key=lambda name: errors[name])
    if errors[key] > TOLERANCE:
        raise NumericsError(
            "the imported generator gives other images than the reference; nothing was written",
            found=f"an error of {errors[key]:.2g} in {key}",
            expected=f"at most {TOLERANCE:g}",
        )


def _read(path: Path) -> dict[str, Tensor]:
    data = read_file(path, max_bytes=_MAX_BYTES, what="reference file")
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise MalformedFileError(f"{path}: not a safetensors file") from error
    for key in tensors:
        if key not in _INPUTS and _computation(key) is None:
            raise MalformedFileError(
                f"{path}: {key} is nothing that can be computed",
                expected="z, w, w_plus, latent_avg, img_w, img_w_plus, img_no_noise, img_truncated",
            )
    return {key: tensor.float() for key, tensor in tensors.items()}


def _computation(key: str) -> Callable[[Generator, dict[str, Tensor]], Tensor] | None:
    if match := _TRUNCATED.fullmatch(key):
        psi = float(".".join(match.groups()))
        return lambda generator, given: generator(given["z"], truncation_psi=psi)
    return {
        "latent_avg": lambda generator, _: generator.latent_avg,
        "w": lambda generator, given: generator.mapping(given["z"]),
        "img_w": lambda generator, given: generator(given["z"]),
        "img_no_noise": lambda generator, given: generator.synthesis(
            given["w_plus"], noise_mode="none"
        ),
        "img_w_plus": lambda generator, given: generator.synthesis(given["w_plus"]),
    }.get(key)
