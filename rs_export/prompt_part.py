"""What makes domains of texts and pictures: a CLIP, and a network that reads its embeddings."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from rs_export.graphs.hypernetwork import hypernetwork_role
from rs_export.graphs.role import TracedRole
from rs_export.graphs.text import text_role
from rs_export.graphs.vision import vision_role
from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.contracts.files import read_file, sha256_hex
from rs_runtime.contracts.prompt import (
    SETTINGS_PATH,
    TOKENIZER_PATH,
    PromptSettings,
    check_tokenizer,
)
from rs_train.checkpoint import load_model, read_record
from rs_train.domains.hypernetwork import HyperDomainNet, clip_fingerprint, require_match
from rs_train.generator import Generator
from rs_train.perceptual.clip import OPEN_CLIP_PREFIX, ClipGuide, load_clip
from rs_train.perceptual.tokenizer_file import PAD_ID, tokenizer_json

_EXAMPLES = 3


class PromptSources(NamedTuple):
    """Where both networks come from."""

    clip: str  # a checkpoint, or open_clip:NAME:TAG, with a tag or a file of weights
    hypernetwork: Path


@dataclass(frozen=True)
class PromptPart:
    """Two networks that were trained for one another.

    Attributes:
        clip: Texts and pictures to embeddings.
        hypernetwork: Embeddings to domains.
        knows: What texts it understands, in a sentence.
        records: {"sha256", "kind", "licence"} by part.
    """

    clip: ClipGuide
    hypernetwork: HyperDomainNet
    knows: str
    records: dict[str, dict[str, str]]


def load_prompt_part(sources: PromptSources, generator: Generator) -> PromptPart:
    """Load both networks and check that they belong together, and to the generator.

    Raises:
        IncompatibleError: They were trained for others.
        RefineStyleError: See `load_clip` and `load_model`.
    """
    clip = load_clip(sources.clip)
    network = load_model(sources.hypernetwork, expect=HyperDomainNet.kind)
    require_match(network, generator, clip)
    _check_sizes(sources, network, generator, clip)
    record = read_record(sources.hypernetwork)["record"]
    records = {
        "prompt_clip": _clip_record(sources.clip, clip),
        "hypernetwork": _record_of(sources.hypernetwork),
    }
    return PromptPart(clip, network, _knows(record), records)


def prompt_roles(part: PromptPart, image_size: int) -> list[TracedRole]:
    """The roles of the part, for prepared pictures of this side."""
    return [
        text_role(part.clip),
        vision_role(part.clip, image_size),
        hypernetwork_role(part.hypernetwork),
    ]


def prompt_files(part: PromptPart) -> dict[str, bytes]:
    """The part's files that are no graphs, by path in the bundle."""
    tokenizer = Tokenizer.from_str(tokenizer_json(part.clip))
    settings = PromptSettings(
        context_length=tokenizer.truncation["max_length"],
        pad_id=PAD_ID,
        vocabulary=tokenizer.get_vocab_size(),
        knows=part.knows,
    )
    # The runtime cuts and fills up, because it warns of what it cuts.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    data = tokenizer.to_str().encode()
    check_tokenizer(data, TOKENIZER_PATH)
    return {SETTINGS_PATH: settings.to_json(), TOKENIZER_PATH: data}


def _check_sizes(
    sources: PromptSources, network: HyperDomainNet, generator: Generator, clip: ClipGuide
) -> None:
    """Refuse what does not fit, where the hypernetwork does not name what it was trained with."""
    config = network.config
    layers = tuple((layer.in_channels, layer.out_channels) for layer in generator.table.convs)
    length = clip.embed_text(["a drawing"]).shape[1]
    for what, found, expected in (
        ("the generator's convolutions", tuple(map(tuple, config.conv_channels)), layers),
        ("the length of CLIP's embeddings", config.embed_dim, length),
    ):
        if found != expected:
            raise IncompatibleError(
                f"{sources.hypernetwork}: made for another model, {what} differ",
                found=str(found),
                expected=str(expected),
                hint="export the checkpoints of one training run together",
            )


def _clip_record(source: str, clip: ClipGuide) -> dict[str, str]:
    if not source.startswith(OPEN_CLIP_PREFIX):
        return _record_of(Path(source))
    name = source.removeprefix(OPEN_CLIP_PREFIX).partition(":")[0]
    return {"kind": f"open_clip {name}", "sha256": clip_fingerprint(clip), "licence": "not stated"}


def _record_of(path: Path) -> dict[str, str]:
    header = read_record(path)
    return {
        "kind": header["kind"],
        "sha256": sha256_hex(read_file(path, max_bytes=8 << 30, what="model checkpoint")),
        "licence": str(header["record"].get("licence", "not stated")),
    }


def _knows(record: Mapping[str, Any]) -> str:
    """The texts that the hypernetwork was trained on, a few of them by name."""
    domains = record.get("config", {}).get("domains", {})
    texts = [wordings[0] for wordings in domains.values()]
    if not texts:
        return "texts that are like those of its training, which its checkpoint does not name"
    # Some from all over the list, not the first alike.
    chosen = texts[:: max(1, len(texts) // _EXAMPLES)][:_EXAMPLES]
    named = ", ".join(json.dumps(text, ensure_ascii=False) for text in chosen)
    return f"texts that are like the {len(texts)} of its training, among them {named}"
