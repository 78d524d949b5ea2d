"""A text, or a picture in the look that is wanted, becomes a domain; no PyTorch.

    text     -> tokens -> role text -> embedding -> role hypernetwork -> token set
    picture  -> role preprocess -> role vision -> embedding -> role hypernetwork -> token set

A prompt is UTF-8 text of at most 4 KB in Unicode's composed form (NFC), of printable characters
only: it becomes the source of a token set, and is shown on terminals. Which tokens it falls into
is said by the bundle's own tokenizer file, read by the library `tokenizers` (the extra `prompt`).
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rs_runtime.contracts.bundle import Bundle
from rs_runtime.contracts.errors import (
    IncompatibleError,
    MalformedFileError,
    NumericsError,
    ResourceError,
    escape_text,
)
from rs_runtime.contracts.files import sha256_hex
from rs_runtime.contracts.prompt import (
    PROMPT_ROLES,
    SETTINGS_PATH,
    TOKENIZER_PATH,
    PromptSettings,
    check_tokenizer,
)
from rs_runtime.contracts.tokens import TokenSet, clean_name
from rs_runtime.mixing import PackedTokens, neutral, split_layers
from rs_runtime.roles import RoleRunner

MAX_PROMPT_BYTES = 4096


class CutPromptWarning(UserWarning):
    """A prompt is longer than its bundle reads; the rest of it was left out."""


class Tokens(NamedTuple):
    """A prompt as the text graph reads it."""

    ids: NDArray[np.int64]  # [1, T], padded to the context length
    left_out: int  # tokens of the prompt that did not fit


def has_prompts(bundle: Bundle) -> bool:
    """Whether a bundle has all of the prompt part."""
    manifest = bundle.manifest
    return {SETTINGS_PATH, TOKENIZER_PATH} <= manifest.files.keys() and (
        set(PROMPT_ROLES) <= manifest.roles.keys()
    )


def read_settings(bundle: Bundle) -> PromptSettings:
    """What a bundle says of its prompts.

    Raises:
        IncompatibleError: It has no prompt part, or a newer one.
        MalformedFileError: The file is damaged.
    """
    if not has_prompts(bundle):
        raise IncompatibleError(
            f"{bundle.root}: the bundle makes no domains of prompts or pictures",
            found=f"roles {', '.join(bundle.manifest.roles)}",
            expected=f"{', '.join(PROMPT_ROLES)}, too",
            hint="put prompt_clip.safetensors and hypernetwork.safetensors beside its checkpoints "
            f"and run: rs-export --model {bundle.manifest.model} --checkpoint FOLDER",
        )
    return PromptSettings.from_json(bundle.read(SETTINGS_PATH), str(bundle.root / SETTINGS_PATH))


class PromptReader:
    """The tokenizer of one bundle.

    Attributes:
        settings: What the bundle says of its prompts.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Opens the tokenizer.

        Raises:
            IncompatibleError: The bundle has no prompt part, or a newer one.
            MalformedFileError: Its files are damaged.
            UnsafeFileError: Its tokenizer is too large, or has parts that could take long.
            ResourceError: The library `tokenizers` is not installed.
        """
        self.settings = read_settings(bundle)
        self._file = str(bundle.root / TOKENIZER_PATH)
        text = check_tokenizer(bundle.read(TOKENIZER_PATH), self._file)
        library = _library()
        with _refusing(self._file):
            self._tokenizer = library.Tokenizer.from_str(text)

    def read(self, prompt: str) -> Tokens:
        """Turns a prompt that ``clean_prompt`` returned into tokens.

        Raises:
            MalformedFileError: The tokenizer gives tokens that the text graph does not know.
        """
        limit = self.settings.context_length
        with _refusing(self._file):
            found = self._tokenizer.encode(prompt).ids
        if not found or max(found) >= self.settings.vocabulary:
            raise MalformedFileError(
                f"{self._file}: does not fit the bundle's text graph",
                found=f"token {max(found)}" if found else "a prompt without tokens",
                expected=f"tokens below {self.settings.vocabulary}",
            )
        left_out = max(0, len(found) - limit)
        if left_out:
            # The last token says where the text ends.
            found = [*found[: limit - 1], found[-1]]
        ids = np.full((1, limit), self.settings.pad_id, np.int64)
        ids[0, : len(found)] = found
        return Tokens(ids, left_out)


class PromptDomains:
    """Makes domains of texts and pictures with the graphs of one bundle."""

    def __init__(self, roles: RoleRunner) -> None:
        """Opens nothing yet; every method says what the bundle lacks."""
        self._roles = roles

    def of_text(self, text: str, stacklevel: int = 1) -> TokenSet:
        """The domain that a prompt describes.

        Args:
            text: See ``clean_prompt``.
            stacklevel: Whom a ``CutPromptWarning`` is for: 1 is the caller.

        Raises:
            MalformedFileError: A text that is no prompt, or damaged files of the bundle.
            IncompatibleError: The bundle has no prompt part.
            ResourceError: The library `tokenizers` is not installed.
            NumericsError: The graphs give values that are not finite.
        """
        prompt = clean_prompt(text)
        tokens = self._reader.read(prompt)
        if tokens.left_out:
            warnings.warn(
                f"the prompt is longer than the {self._reader.settings.context_length} tokens that "
                f"this bundle reads: its last {tokens.left_out} were left out",
                CutPromptWarning,
                stacklevel=stacklevel + 1,
            )
        embedding = self._roles.run("text", tokens=tokens.ids)["embedding"]
        return self._domain(embedding, prompt.replace(" ", "-"), prompt)

    def of_image(self, image: NDArray[np.uint8], name: str) -> TokenSet:
        """The domain that a prepared picture uint8 [1, S, S, 3] is in; errors as ``of_text``."""
        embedding = self._roles.run("vision", image=image)["embedding"]
        source = f"sha256 of the prepared picture: {sha256_hex(image.tobytes())}"
        return self._domain(embedding, name, source)

    def require(self) -> None:
        """Raises IncompatibleError unless the bundle has a prompt part."""
        read_settings(self._roles.bundle)

    @cached_property
    def _reader(self) -> PromptReader:
        return PromptReader(self._roles.bundle)

    def _domain(self, embedding: NDArray[np.float32], name: str, source: str) -> TokenSet:
        manifest = self._roles.bundle.manifest
        table = manifest.layer_table
        found = self._roles.run("hypernetwork", embedding=embedding)
        plain = neutral(1, table)
        _check_tokens(found, plain)
        packed = plain._replace(**found)
        P, Q = split_layers(packed, 0, table)
        styles = table.style_slices if "style_offset" in found else {}
        inputs = table.in_slices if "modulation" in found else {}
        return TokenSet(
            kind="domain",
            name=clean_name(name),
            P=P,
            Q=Q,
            style_offset={layer: packed.style_offset[0, own] for layer, own in styles.items()},
            modulation={layer: packed.modulation[0, own] for layer, own in inputs.items()},
            w_plus=None,
            source=source,
            licence=manifest.licences.get("hypernetwork", "not stated"),
            fingerprint=manifest.generator_fingerprint,
            table_hash=table.hash,
        )


def clean_prompt(text: str) -> str:
    """Brings a prompt into its one form.

    Args:
        text: What a user wrote.

    Returns:
        Composed (NFC), with single spaces between words.

    Raises:
        MalformedFileError: Empty, over 4 KB, or with characters that are not printed: controls,
            terminal escapes, marks that turn the writing direction, halves of characters.
    """
    # The length in characters first: it bounds the work on what follows.
    if len(text) > MAX_PROMPT_BYTES:
        raise _too_long(f"{len(text):,} characters")
    spaced = "".join(" " if unicodedata.category(ch) == "Zs" else ch for ch in text)
    composed = unicodedata.normalize("NFC", spaced)
    hidden = next((ch for ch in composed if not ch.isprintable()), None)
    if hidden is not None:
        raise MalformedFileError(
            "the prompt has a character that is not printed",
            found=escape_text(hidden),
            expected="one line of text without controls",
        )
    size = len(composed.encode())
    if size > MAX_PROMPT_BYTES:
        raise _too_long(f"{size:,} bytes")
    prompt = " ".join(composed.split())
    if not prompt:
        raise MalformedFileError(
            "the prompt is empty", expected='a few words, such as "a charcoal drawing of a face"'
        )
    return prompt


def _check_tokens(found: dict[str, NDArray[np.float32]], plain: PackedTokens) -> None:
    """Refuses what a hypernetwork must not give for this generator."""
    widths = {name: own.shape[-1] for name, own in plain._asdict().items()}
    for name, values in found.items():
        if values.shape[-1] != widths.get(name):
            raise IncompatibleError(
                "the bundle's hypernetwork does not fit its generator",
                found=f"{name} of {values.shape[-1]}",
                expected=", ".join(f"{own} of {width}" for own, width in widths.items()),
            )
        if not np.isfinite(values).all():
            raise NumericsError(
                "the hypernetwork gave values that are not finite",
                hint="try another prompt or provider",
            )


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ResourceError(
            "a prompt needs the package tokenizers",
            found=str(error),
            hint='pip install ".[prompt]" in the project\'s folder',
        ) from error
    return tokenizers


@contextmanager
def _refusing(file: str) -> Iterator[None]:
    """Turns what the library raises, its panics too, into a refusal of the tokenizer's file."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise MalformedFileError(
            f"{file}: not a tokenizer", found=" ".join(str(error).split())[:200]
        ) from error


def _too_long(found: str) -> MalformedFileError:
    return MalformedFileError(
        "the prompt is too long", found=found, expected=f"at most {MAX_PROMPT_BYTES:,} bytes"
    )
