"""The prompt part of a bundle: with it, a text or a reference picture becomes a domain.

It is files and roles that readers of schema 1 may do without:

* `prompt/settings.json`, canonical JSON with the fields of `PromptSettings`, format and version;
* `prompt/tokenizer.json`, a byte-pair tokenizer as the library `tokenizers` writes it;
* roles `text`, `vision` and `hypernetwork`.

A tokenizer's file may hold a whole program: patterns that never end, replacements that grow the
text, parts that its library aborts on. `check_tokenizer` knows the few parts that CLIPs have.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import Any

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UnsafeFileError
from rs_runtime.contracts.fields import (
    check_integer,
    check_list,
    check_mapping,
    check_object,
    check_text,
)
from rs_runtime.contracts.strict_json import canonical_json, parse_json

SETTINGS_PATH = "prompt/settings.json"
TOKENIZER_PATH = "prompt/tokenizer.json"
PROMPT_ROLES = ("text", "vision", "hypernetwork")

FORMAT = "refinestyle-prompt"
VERSION = 1
MAX_SETTINGS_BYTES = 100_000
MAX_TOKENIZER_BYTES = 8_000_000
MAX_CONTEXT = 4096
MAX_VOCABULARY = 1_000_000

_MAX_PARTS = 16
_MAX_PATTERN = 200
_TOKENIZER_FIELDS = (
    *("version", "truncation", "padding", "added_tokens", "normalizer"),
    *("pre_tokenizer", "post_processor", "decoder", "model"),
)
# Fields of each part beside its type; in a Sequence the field that holds its parts is among them.
_NORMALIZERS = {
    "Sequence": ("normalizers",),
    "NFC": (),
    "Lowercase": (),
    "Strip": ("strip_left", "strip_right"),
    "Replace": ("pattern", "content"),
}
_PRE_TOKENIZERS = {
    "Sequence": ("pretokenizers",),
    "WhitespaceSplit": (),
    "Split": ("pattern", "behavior", "invert"),
    "ByteLevel": ("add_prefix_space", "trim_offsets", "use_regex"),
}
_POST_PROCESSORS = {
    "TemplateProcessing": ("single", "pair", "special_tokens"),
    "RobertaProcessing": ("sep", "cls", "trim_offsets", "add_prefix_space"),
}
_MODEL_FIELDS = (
    *("type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"),
    *("fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"),
)


@dataclass(frozen=True)
class PromptSettings:
    """What the host has to know to turn a prompt into the input of role `text`.

    Attributes:
        context_length: Tokens of that input; longer prompts are cut, shorter ones padded.
        pad_id: The token that fills it up.
        vocabulary: How many tokens the text graph knows.
        knows: What prompts it understands, as in "this bundle understands looks of portraits".
    """

    context_length: int
    pad_id: int
    vocabulary: int
    knows: str

    def to_json(self) -> bytes:
        """Return the text of `settings.json`, canonical."""
        return canonical_json({"format": FORMAT, "version": VERSION} | asdict(self))

    @staticmethod
    def from_json(data: bytes, what: str) -> "PromptSettings":
        """Read the text of a `settings.json`.

        Args:
            data: The whole file.
            what: Its name for messages.

        Raises:
            MalformedFileError: Damaged, or against a rule above.
            UnsafeFileError: Far too long.
            IncompatibleError: A newer version.
        """
        _check_size(data, what, MAX_SETTINGS_BYTES)
        value = check_mapping(parse_json(data, what), what)
        if value.pop("format", None) != FORMAT:
            raise MalformedFileError(f"{what}: not the settings of prompts", expected=FORMAT)
        version = check_integer(value.pop("version", None), f"{what}: version", 1, 10**6)
        if version > VERSION:
            raise IncompatibleError(
                f"{what}: written by a newer version",
                found=str(version),
                expected=f"at most {VERSION}",
                hint="update this program, or export the bundle again with this version",
            )
        check_object(value, what, [field.name for field in fields(PromptSettings)])
        vocabulary = check_integer(value["vocabulary"], f"{what}: vocabulary", 3, MAX_VOCABULARY)
        return PromptSettings(
            context_length=check_integer(
                value["context_length"], f"{what}: context_length", 3, MAX_CONTEXT
            ),
            pad_id=check_integer(value["pad_id"], f"{what}: pad_id", 0, vocabulary - 1),
            vocabulary=vocabulary,
            knows=check_text(value["knows"], f"{what}: knows"),
        )


def check_tokenizer(data: bytes, what: str) -> str:
    """Refuse a `tokenizer.json` of other parts than byte-pair tokenizers of CLIPs have.

    Args:
        data: The whole file.
        what: Its name for messages.

    Returns:
        The text, which `tokenizers.Tokenizer.from_str` may still refuse.

    Raises:
        MalformedFileError: Not JSON, missing or unknown fields, or unknown parts.
        UnsafeFileError: Too large, or a part that could take long or grow the text.
    """
    _check_size(data, what, MAX_TOKENIZER_BYTES)
    value = check_object(parse_json(data, what), what, _TOKENIZER_FIELDS)
    for name in ("truncation", "padding"):
        if value[name] is not None:  # the settings say these, and the host warns of what it cuts
            raise MalformedFileError(f"{what}: {name}", found="an object", expected="null")
    check_list(value["added_tokens"], f"{what}: added_tokens")
    for name, known in (
        ("normalizer", _NORMALIZERS),
        ("pre_tokenizer", _PRE_TOKENIZERS),
        ("post_processor", _POST_PROCESSORS),
    ):
        if value[name] is not None:
            _check_part(value[name], f"{what}: {name}", known, depth=0)
    model = check_object(value["model"], f"{what}: model", _MODEL_FIELDS)
    for name, expected in (("type", "BPE"), ("dropout", None)):
        if model[name] != expected:
            raise MalformedFileError(
                f"{what}: model.{name}", found=str(model[name])[:40], expected=str(expected)
            )
    return data.decode("utf-8")


def _check_part(value: Any, where: str, known: dict[str, Collection[str]], depth: int) -> None:
    kind = check_mapping(value, where).get("type")
    if not isinstance(kind, str) or kind not in known or (kind == "Sequence" and depth):
        raise MalformedFileError(
            f"{where}: not a part of a CLIP's tokenizer",
            found=str(kind)[:40],
            expected=", ".join(known),
        )
    check_object(value, where, ("type", *known[kind]))
    if kind == "Sequence":
        (inside,) = known[kind]
        parts = check_list(value[inside], f"{where}.{inside}")
        if len(parts) > _MAX_PARTS:
            raise UnsafeFileError(f"{where}: too many parts", found=str(len(parts)))
        for i, part in enumerate(parts):
            _check_part(part, f"{where}.{inside}[{i}]", known, depth + 1)
    if "pattern" in value:
        _check_pattern(value["pattern"], f"{where}.pattern")
    # One character for at least one: the text does not grow.
    if "content" in value and len(check_text(value["content"], f"{where}.content")) > 1:
        raise UnsafeFileError(f"{where}: a replacement that is longer than a character")


def _check_pattern(value: Any, where: str) -> None:
    """A pattern without groups cannot nest repetitions, which is what makes matching endless."""
    pattern = check_mapping(value, where)
    if list(pattern) not in (["Regex"], ["String"]):
        raise MalformedFileError(f"{where}: not a pattern", expected="Regex or String")
    (text,) = (check_text(own, where) for own in pattern.values())
    if not text or len(text) > _MAX_PATTERN or ("Regex" in pattern and "(" in text):
        raise UnsafeFileError(
            f"{where}: a pattern that could take long",
            found=text[:80],
            expected=f"1 to {_MAX_PATTERN} characters, without groups",
        )


def _check_size(data: bytes, what: str, limit: int) -> None:
    if len(data) > limit:
        raise UnsafeFileError(
            f"{what}: too large", found=f"{len(data):,} bytes", expected=f"at most {limit:,}"
        )
