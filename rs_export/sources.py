"""Which files a model is exported from, and whether they belong together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from rs_export.models import MODELS, NOT_EXPORTED, OPTIONAL, PART_OF_KIND, PROMPT
from rs_export.prompt_part import PromptPart, PromptSources, load_prompt_part
from rs_runtime.contracts.calibration import (
    MAX_CALIBRATION_BYTES,
    calibration_path,
    decode_calibration,
)
from rs_runtime.contracts.directions import (
    MAX_DIRECTION_FILE_BYTES,
    Direction,
    decode_direction,
)
from rs_runtime.contracts.errors import (
    IncompatibleError,
    MalformedFileError,
    ResourceError,
    UsageError,
)
from rs_runtime.contracts.files import read_file, sha256_hex
from rs_runtime.contracts.manifest import EDIT_SUFFIX
from rs_runtime.contracts.roles import INVERTERS
from rs_runtime.contracts.strict_json import parse_json
from rs_runtime.contracts.tokens import MAX_TOKEN_FILE_BYTES, TokenSet, decode_token_set
from rs_train.checkpoint import load_model, read_record
from rs_train.generator import Generator

DEMO = Path(__file__).resolve().parents[1] / "rs_train" / "demo"
_RECONSTRUCTION = "reconstruction.json"
_MAX_JSON_BYTES = 1_000_000


@dataclass(frozen=True)
class Sources:
    """Files of one model.

    Attributes:
        model: A key of `MODELS`.
        checkpoints: Path by part.
        domains: Token sets to ship.
        edits: Directions to ship.
        reconstruction: How well held-out pictures are reconstructed, as the manifest wants it.
        prompt: What makes domains of texts and pictures.
    """

    model: str
    checkpoints: dict[str, Path]
    domains: tuple[Path, ...]
    edits: tuple[Path, ...]
    reconstruction: dict[str, Any] | None
    prompt: PromptSources | None = None


@dataclass(frozen=True)
class Domain:
    """A domain's file as it will be shipped, and what is in it."""

    data: bytes
    tokens: TokenSet


@dataclass(frozen=True)
class Edit:
    """An edit's file as it will be shipped, and what is in it."""

    data: bytes
    direction: Direction


@dataclass(frozen=True)
class Parts:
    """The loaded networks of one model.

    Attributes:
        generator: The generator.
        others: The other parts by name.
        records: {"sha256", "kind", "licence"} by part.
        domains: By name.
        edits: By name.
        prompt: What makes domains of texts and pictures.
        calibration: File of the inverter's calibration as it will be shipped.
    """

    generator: Generator
    others: dict[str, nn.Module]
    records: dict[str, dict[str, str]]
    domains: dict[str, Domain]
    edits: dict[str, Edit]
    prompt: PromptPart | None = None
    calibration: bytes | None = None

    @property
    def image_rank(self) -> int:
        """Tokens L of an inverted picture; 0 where there are none."""
        return max((getattr(own.config, "rank", 0) for own in self.others.values()), default=0)

    @property
    def usual_rank(self) -> int:
        """Tokens L of a picture of its own in one domain, at least 1."""
        domains = (domain.tokens.rank for domain in self.domains.values())
        return max(1, self.image_rank + max(domains, default=0))


def find_sources(
    model: str,
    checkpoints: Sequence[Path] = (),
    domains: Sequence[Path] = (),
    clip: str | None = None,
) -> Sources:
    """Find the files of a model.

    Args:
        model: A key of `MODELS`.
        checkpoints: Checkpoints, or folders with `<part>.safetensors` (and the inverter's
            `<part>.calibration.json`), `domains/*.tokens`, `edits/*.direction` and
            `reconstruction.json`; later ones win. Empty for the demo's.
        domains: Token sets beside those of the folders.
        clip: The hypernetwork's CLIP instead of the folders', see `PromptSources`.

    Raises:
        UsageError: A part is missing or a path does not exist.
        ResourceError: The demo's checkpoints are not there.
    """
    if not checkpoints and not (DEMO / "generator.safetensors").is_file():
        raise ResourceError(
            "the demo's checkpoints are not in this installation",
            expected=f"{MODELS[model][0]}.safetensors and the like in rs_train/demo",
            hint="train them with: rs-train demo, or name your own with --checkpoint",
        )
    wanted = MODELS[model] if model == "generator" else (*MODELS[model], *OPTIONAL, *PROMPT)
    found: dict[str, Path] = {}
    sets: list[Path] = []
    edits: list[Path] = []
    reconstruction = None
    for path in checkpoints or (DEMO,):
        if not path.is_dir():
            found[_part(path)] = path
            continue
        for part in wanted:
            if (path / f"{part}.safetensors").is_file():
                found[part] = path / f"{part}.safetensors"
        sets += sorted((path / "domains").glob("*.tokens"))
        edits += sorted((path / "edits").glob(f"*{EDIT_SUFFIX}"))
        # It is measured on pictures that keep tokens, not on those that keep a feature map.
        if (path / _RECONSTRUCTION).is_file() and model not in ("generator", "feature_shift"):
            reconstruction = _read_json(path / _RECONSTRUCTION)
    missing = [part for part in MODELS[model] if part not in found]
    if missing:
        raise UsageError(
            f"no checkpoint for the {missing[0]} of a {model} model",
            found=", ".join(found) or "none",
            expected=", ".join(MODELS[model]),
            hint=f"add --checkpoint {missing[0]}.safetensors, or train it with rs-train",
        )
    kept = {part: found[part] for part in wanted if part in found}
    prompt = _prompt_sources(kept, clip)
    return Sources(model, kept, (*sets, *domains), tuple(edits), reconstruction, prompt)


def load_parts(sources: Sources) -> Parts:
    """Load networks, domains and edits, and check that they were made for one another.

    Raises:
        UsageError: Two domains or edits of one name, or a token set that is not a domain.
        IncompatibleError: Sizes, or the generator that a part was trained for, differ.
        RefineStyleError: See `load_model`, `decode_token_set` and `decode_direction`.
    """
    models, records = {}, {}
    for part, path in sources.checkpoints.items():
        if _part(path) != part:
            raise IncompatibleError(f"{path}: not a {part}", found=_part(path), expected=part)
        models[part] = load_model(path)
        header = read_record(path)
        data = read_file(path, max_bytes=8 << 30, what="model checkpoint")
        records[part] = {
            "kind": header["kind"],
            "sha256": sha256_hex(data),
            "licence": str(header["record"].get("licence", "not stated")),
        }
    generator = models.pop("generator")
    if "feature_shift" in models:
        _check_split(models["feature_encoder"], models["feature_shift"], sources)
    for part, network in models.items():
        _check_fits(part, sources.checkpoints[part], network, generator)
    domains = _load_domains(sources.domains, generator)
    edits = _load_edits(sources.edits, generator)
    prompt = None
    if sources.prompt is not None:
        prompt = load_prompt_part(sources.prompt, generator)
        records |= prompt.records
    calibration = _load_calibration(sources, records, generator)
    return Parts(generator, models, records, domains, edits, prompt, calibration)


def _prompt_sources(kept: dict[str, Path], clip: str | None) -> PromptSources | None:
    """Take both networks out of the parts; a CLIP alone makes no domains and is left out."""
    own, hypernetwork = (kept.pop(part, None) for part in PROMPT)
    if hypernetwork is None:
        if clip is not None:
            raise UsageError(
                "a CLIP is read by a hypernetwork, and there is none",
                expected="hypernetwork.safetensors among the checkpoints",
                hint="train it with rs-train hypernetwork, or leave --clip out",
            )
        return None
    if clip is None and own is None:
        raise UsageError(
            f"{hypernetwork}: no checkpoint for the CLIP that it reads",
            expected="prompt_clip.safetensors beside it",
            hint="add --clip FILE or --clip open_clip:NAME:TAG, the one that it was trained with",
        )
    return PromptSources(clip or str(own), hypernetwork)


def _load_calibration(
    sources: Sources, records: dict[str, dict[str, str]], generator: Generator
) -> bytes | None:
    """Read the calibration that lies beside the inverter's checkpoint, if there is one."""
    part = next((part for part in INVERTERS if part in sources.checkpoints), None)
    path = None if part is None else calibration_path(sources.checkpoints[part])
    if path is None or not path.is_file():
        return None
    data = read_file(path, max_bytes=MAX_CALIBRATION_BYTES, what="calibration")
    calibration = decode_calibration(
        data, table=generator.table, fingerprint=generator.fingerprint(), name_hint=str(path)
    )
    if calibration.encoder_sha256 != records[part]["sha256"]:
        raise IncompatibleError(
            f"{path}: the calibration of another {part}",
            found=f"{calibration.encoder_sha256[:16]}…",
            expected=f"{records[part]['sha256'][:16]}…",
            hint="make it again with rs-train eval calibration",
        )
    return data


def _load_domains(paths: Sequence[Path], generator: Generator) -> dict[str, Domain]:
    found: dict[str, Domain] = {}
    fingerprint = generator.fingerprint()
    for path in paths:
        if path.stem in found:
            raise UsageError(f"{path}: there are two domains called {path.stem}")
        data = read_file(path, max_bytes=MAX_TOKEN_FILE_BYTES, what="token set")
        tokens = decode_token_set(
            data, table=generator.table, fingerprint=fingerprint, name_hint=str(path)
        )
        if tokens.kind != "domain":
            raise UsageError(
                f"{path}: not a domain",
                found=f"a token set of kind {tokens.kind}",
                expected="one that rs-train domain wrote",
            )
        found[path.stem] = Domain(data, tokens)
    return found


def _load_edits(paths: Sequence[Path], generator: Generator) -> dict[str, Edit]:
    found: dict[str, Edit] = {}
    fingerprint = generator.fingerprint()
    for path in paths:
        if path.stem in found:
            raise UsageError(f"{path}: there are two edits called {path.stem}")
        data = read_file(path, max_bytes=MAX_DIRECTION_FILE_BYTES, what="direction")
        direction = decode_direction(
            data, table=generator.table, fingerprint=fingerprint, name_hint=str(path)
        )
        found[path.stem] = Edit(data, direction)
    return found


def _part(path: Path) -> str:
    kind = read_record(path)["kind"]
    if kind not in PART_OF_KIND:
        reason = f", {NOT_EXPORTED[kind]}" if kind in NOT_EXPORTED else ""
        raise IncompatibleError(
            f"{path}: not exported", found=f"kind {kind}{reason}", expected=", ".join(PART_OF_KIND)
        )
    return PART_OF_KIND[kind]


def _check_fits(part: str, path: Path, network: nn.Module, generator: Generator) -> None:
    table, config = generator.table, network.config
    sizes: list[tuple[str, Any, Any]] = []
    if part in ("refiner", "inverter"):
        pairs = tuple((layer.in_channels, layer.out_channels) for layer in table.convs)
        sizes.append(("convolutions", tuple(map(tuple, config.conv_channels)), pairs))
    if part in ("feature_encoder", "feature_shift"):
        reader = table.convs[config.layer]
        sizes.append(("channels at the split", config.feature_channels, reader.in_channels))
    if part == "feature_encoder":
        sizes.append(("side at the split", config.feature_side, reader.resolution // reader.up))
    if part in ("base_inverter", "inverter", "feature_encoder"):
        sizes += [
            ("rows of w_plus", config.num_ws, table.num_ws),
            ("w_dim", config.w_dim, table.w_dim),
        ]
    made_for = read_record(path)["record"].get("generator_fingerprint")
    if made_for is not None:
        sizes.append(("generator", made_for, generator.fingerprint()))
    for what, found, expected in sizes:
        if found != expected:
            raise IncompatibleError(
                f"{path}: made for another generator, {what} differ",
                found=str(found),
                expected=str(expected),
                hint="export the checkpoints of one training run together",
            )


def _check_split(encoder: nn.Module, shift: nn.Module, sources: Sources) -> None:
    found, expected = (
        f"{'what is added to ' if own.config.residual else ''}the input of convolution "
        f"{own.config.layer}"
        for own in (shift, encoder)
    )
    if found != expected or shift.config.layer < 1:
        raise IncompatibleError(
            f"{sources.checkpoints['feature_shift']}: moves another feature map than the encoder's",
            found=found,
            expected=f"{expected}, which has to be 1 or later",
        )


def _read_json(path: Path) -> dict[str, Any]:
    data = read_file(path, max_bytes=_MAX_JSON_BYTES, what="reconstruction record")
    value = parse_json(data, str(path))
    if not isinstance(value, dict):
        raise MalformedFileError(f"{path}: not an object", found=type(value).__name__)
    return value
