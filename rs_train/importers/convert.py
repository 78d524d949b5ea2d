"""From a foreign file to this project's models."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UsageError
from rs_runtime.contracts.tokens import fingerprint_synthesis
from rs_train.generator import Generator
from rs_train.importers import e4e, nvidia, psp, restyle, rosinality, style_transformer
from rs_train.importers.sandbox import Extract, extract
from rs_train.importers.sniff import DOMAIN_OFFSETS, ENCODER_FAMILIES

# What tensors that are missing, unknown, of another shape, or not fitting a class, end in.
_BAD_STATE = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Imported:
    """The models of a file, fp32, in eval mode.

    Attributes:
        source: The file's facts.
        generator: The generator in it.
        encoder: The encoder in it, if there is one that this project has too.
        notes: What differs from the source, a sentence each.
    """

    source: Extract
    generator: Generator
    encoder: nn.Module | None
    notes: list[str]

    @property
    def models(self) -> list[nn.Module]:
        """What is to be written."""
        return [self.generator] if self.encoder is None else [self.generator, self.encoder]

    @property
    def licence(self) -> str:
        """What the file says of its licence."""
        return self.source.facts.get("licence", "not stated")


def import_models(path: Path, family: str | None = None) -> Imported:
    """Read a checkpoint of another project; nothing in it is executed.

    Args:
        path: The file.
        family: Decides between pSp and e4e where the file does not.

    Raises:
        MalformedFileError: Damaged, or tensors that are missing, unknown, of another shape or
            not finite; the first is named.
        UnsafeFileError: It carries code.
        IncompatibleError: Another kind of network.
        ResourceError: Reading it took too much memory or time.
        UsageError: No such file, or a domain, which is read by `import_domain`.
    """
    source = extract(path, family)
    if source.family == DOMAIN_OFFSETS:
        raise UsageError(
            f"{path}: a domain without its generator",
            expected="the generator's checkpoint",
            hint="add --generator generator.safetensors",
        )
    with _naming(path):
        _require_finite(source.tensors)
        generator, notes = _generator(source)
        generator.eval().requires_grad_(False)
        encoder = None
        if source.family in ENCODER_FAMILIES:
            try:
                encoder = _encoder(source, generator).eval().requires_grad_(False)
            except IncompatibleError as error:
                notes.append("not converted: " + " · ".join(str(error).splitlines()))
    return Imported(source, generator, encoder, notes)


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of a model's numbers; of a generator the one that token sets name."""
    if isinstance(model, Generator):
        return model.fingerprint()
    state = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
    return fingerprint_synthesis({k: v.float().cpu().numpy() for k, v in state.items()})


def _generator(source: Extract) -> tuple[Generator, list[str]]:
    if source.family == "nvidia":
        return nvidia.generator_from_state(source.tensors, source.facts)
    state = dict(source.tensors)
    latent_avg = state.pop("latent_avg", None)
    if source.family != "rosinality":
        state = _part(state, "decoder.")
    return rosinality.generator_from_state(state, latent_avg)


def _encoder(source: Extract, generator: Generator) -> nn.Module:
    state = _part(source.tensors, "encoder.")
    latent_avg = source.tensors.get("latent_avg", generator.latent_avg)
    parts = (state, source.facts, latent_avg, generator.num_ws)
    if source.family == "style_transformer":
        return style_transformer.encoder_from_state(*parts, generator.mapping_network)
    family = {"psp": psp, "e4e": e4e, "restyle": restyle}[source.family]
    return family.encoder_from_state(*parts)


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _require_finite(tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{name} is not finite")


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in errors, and turn what wrong tensors end in into one of ours."""
    try:
        yield
    except IncompatibleError as error:
        error.what = f"{path}: {error.what}"
        raise
    except _BAD_STATE as error:
        raise MalformedFileError(
            f"{path}: its tensors do not form a model",
            found=" ".join(str(error).split())[:300],
            expected="the tensors of a StyleGAN2 as its project writes them",
        ) from error
