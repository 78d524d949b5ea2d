"""The files of a bundle's prompt part: what comes back, and what is refused."""

import json
from dataclasses import asdict, replace

import pytest

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UnsafeFileError
from rs_runtime.contracts.prompt import (
    MAX_SETTINGS_BYTES,
    MAX_TOKENIZER_BYTES,
    PromptSettings,
    check_tokenizer,
)
from tests.runtime.tiny_prompt import SETTINGS, damaged_tokenizer, tokenizer_json


def test_settings_come_back():
    data = SETTINGS.to_json()
    assert PromptSettings.from_json(data, "s") == SETTINGS
    assert PromptSettings.from_json(data, "s").to_json() == data


def settings(**changes: object) -> bytes:
    return json.dumps({"format": "refinestyle-prompt", "version": 1} | changes).encode()


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"format": "refinestyle-bundle"}, MalformedFileError, "not the settings"),
        ({"version": 0}, MalformedFileError, "version"),
        ({"version": "1"}, MalformedFileError, "version"),
        ({"version": 2}, IncompatibleError, "newer"),
        ({"template": "{}"}, MalformedFileError, "unknown field template"),
        ({"context_length": 2}, MalformedFileError, "context_length"),
        ({"context_length": 5000}, MalformedFileError, "context_length"),
        ({"context_length": True}, MalformedFileError, "context_length"),
        ({"pad_id": SETTINGS.vocabulary}, MalformedFileError, "pad_id"),
        ({"pad_id": -1}, MalformedFileError, "pad_id"),
        ({"vocabulary": 2}, MalformedFileError, "vocabulary"),
        ({"vocabulary": 10**7}, MalformedFileError, "vocabulary"),
        ({"knows": ""} | {"knows": "\x1b[31mred"}, MalformedFileError, "knows"),
        ({"knows": "x" * 5000}, MalformedFileError, "knows"),
    ],
)
def test_settings_that_are_refused(changes, error, reason):
    with pytest.raises(error, match=reason):
        PromptSettings.from_json(settings(**asdict(SETTINGS) | changes), "s")


def test_settings_that_are_no_settings():
    for data in (b"", b"[]", b"{}", b"\xff", settings(), settings(**asdict(SETTINGS))[:-1]):
        with pytest.raises(MalformedFileError):
            PromptSettings.from_json(data, "s")
    long = replace(SETTINGS, knows="x").to_json() + b" " * MAX_SETTINGS_BYTES
    with pytest.raises(UnsafeFileError):
        PromptSettings.from_json(long, "s")


def test_a_tokenizer_passes_as_it_is():
    text = tokenizer_json()
    assert check_tokenizer(text.encode(), "t") == text


def test_parts_of_public_clips_pass():
    pattern = {"Regex": r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"}
    parts = [
        {"type": "Split", "pattern": pattern, "behavior": "Removed", "invert": True},
        {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        },
    ]
    sequence = {"type": "Sequence", "pretokenizers": parts}
    check_tokenizer(damaged_tokenizer("pre_tokenizer", sequence), "t")
    spaces = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
    normalizers = {"type": "Sequence", "normalizers": [{"type": "NFC"}, spaces]}
    check_tokenizer(damaged_tokenizer("normalizer", normalizers), "t")


def replacement(pattern: dict[str, str], content: str) -> dict[str, object]:
    return {"type": "Replace", "pattern": pattern, "content": content}


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        ("version2", "1.0", MalformedFileError),
        ("truncation", {"max_length": 9}, MalformedFileError),
        ("padding", {}, MalformedFileError),
        ("added_tokens", {}, MalformedFileError),
        ("normalizer", "NFC", MalformedFileError),
        ("normalizer", {"type": ["NFC"]}, MalformedFileError),
        ("normalizer", {"type": "NFC", "more": 1}, MalformedFileError),
        (
            "normalizer",
            {"type": "Precompiled", "precompiled_charsmap": "AAAAA"},
            MalformedFileError,
        ),
        ("normalizer", {"type": "Prepend", "prepend": "x" * 10**6}, MalformedFileError),
        ("normalizer", replacement({"Regex": "(a+)+$"}, "b"), UnsafeFileError),
        ("normalizer", replacement({"String": ""}, "b"), UnsafeFileError),
        ("normalizer", replacement({"String": "a", "Regex": "a"}, "b"), MalformedFileError),
        ("normalizer", replacement({"String": "a"}, "b" * 2), UnsafeFileError),
        (
            "normalizer",
            {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 17},
            UnsafeFileError,
        ),
        (
            "normalizer",
            {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": []}]},
            MalformedFileError,
        ),
        ("pre_tokenizer", {"type": "NFC"}, MalformedFileError),
        ("post_processor", {"type": "BertProcessing", "sep": [], "cls": []}, MalformedFileError),
        ("model", None, MalformedFileError),
        ("model.type", "Unigram", MalformedFileError),
        ("model.dropout", 0.5, MalformedFileError),
        ("model.script", "x", MalformedFileError),
    ],
)
def test_tokenizers_that_are_refused(path, value, error):
    with pytest.raises(error):
        check_tokenizer(damaged_tokenizer(path, value), "t")


def test_tokenizers_that_are_no_json():
    deep = b'{"model":' + b"[" * 10**5
    for data in (b"", b"[]", b"{}", b"null", tokenizer_json().encode()[:-1], deep):
        with pytest.raises(MalformedFileError):
            check_tokenizer(data, "t")
    with pytest.raises(UnsafeFileError, match="too large"):
        check_tokenizer(b" " * (MAX_TOKENIZER_BYTES + 1), "t")
