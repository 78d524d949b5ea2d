"""Texts and pictures as domains, on graphs whose pictures can be worked out on paper."""

import json
import random
import sys
import warnings
from unittest import mock

import numpy as np
import pytest

import rs_runtime
from rs_runtime.contracts.bundle import Bundle
from rs_runtime.contracts.errors import (
    IncompatibleError,
    MalformedFileError,
    ResourceError,
    UnsafeFileError,
)
from rs_runtime.contracts.prompt import SETTINGS_PATH, TOKENIZER_PATH, PromptSettings
from rs_runtime.contracts.tokens import write_token_set
from rs_runtime.image_io import write_picture
from rs_runtime.prompts import CutPromptWarning, PromptReader, clean_prompt
from tests.runtime.test_pipeline import RED, assert_paint, flat, painted
from tests.runtime.tiny_bundle import FINGERPRINT, TABLE, TINTS, build, own_tint
from tests.runtime.tiny_prompt import (
    CONTEXT,
    END,
    SETTINGS,
    build_with_prompts,
    damaged_tokenizer,
    prompt_tint,
    tint,
    tokenizer_json,
)

PROMPT = "Charcoal drawing"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_with_prompts(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def runtime(folder):
    return rs_runtime.load(folder, provider="cpu", threads=1)


def tinted(added: np.ndarray) -> np.ndarray:
    base = np.array(RED) / 127.5 - 1
    return np.rint(np.clip((base + own_tint(base[0]) + added + 1) * 127.5, 0, 255))


def test_a_text_becomes_a_domain(runtime):
    domain = runtime.prompt(f" {PROMPT}\u3000")
    assert (domain.kind, domain.name, domain.source) == ("domain", "Charcoal-drawing", PROMPT)
    assert (domain.fingerprint, domain.table_hash) == (FINGERPRINT, TABLE.hash)
    assert (domain.licence, domain.dtype, domain.rank) == ("CC-BY-4.0", "F32", 1)
    assert not domain.style_offset and domain.w_plus is None
    inversion = runtime.invert(flat(RED))
    added = prompt_tint(PROMPT)
    assert_paint(inversion.synthesize(domain), tinted(added))
    mixed = inversion.synthesize([(domain, 0.5), "sketch=2"])
    assert_paint(mixed, tinted(0.5 * added + 2 * TINTS["sketch"]))
    assert_paint(inversion.reconstruction, painted(RED))


def test_a_picture_becomes_a_domain(runtime, tmp_path):
    colour = (51, 204, 9)
    path = write_picture(tmp_path / "Red chalk.png", flat(colour))
    domain = runtime.style(path)
    assert domain.name == "Red chalk" and "sha256" in domain.source
    assert runtime.style(flat(colour)).name == "style"
    assert runtime.style(flat(colour), name="mine").source == domain.source
    picture = runtime.invert(flat(RED)).synthesize(domain)
    assert_paint(picture, tinted(tint(0.2, 0.8)))


def test_a_saved_prompt_gives_the_same_picture(runtime, tmp_path):
    inversion = runtime.invert(flat(RED))
    for domain in (runtime.prompt(PROMPT), runtime.style(flat((9, 99, 199)))):
        write_token_set(tmp_path / "a.tokens", domain)
        for strength in (1.0, 0.3):
            direct = inversion.synthesize((domain, strength))
            read = inversion.synthesize((tmp_path / "a.tokens", strength))
            np.testing.assert_array_equal(direct, read)


def test_what_does_not_fit_is_cut_with_a_warning(runtime):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = runtime.prompt("x" * (CONTEXT - 2))
    with pytest.warns(CutPromptWarning, match=f"{CONTEXT} tokens .* last 3 were") as caught:
        cut = runtime.prompt("x" * (CONTEXT + 1))
    assert caught[0].filename == __file__
    for name, values in whole.modulation.items():
        np.testing.assert_array_equal(cut.modulation[name], values)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a  b ", "a b"),
        ("e\u0301tude au fusain", "étude au fusain"),
        ("木炭\u3000の絵", "木炭 の絵"),
        ("a=0.5; $(rm) ../x 😀", "a=0.5; $(rm) ../x 😀"),
        ("x" * 4096, "x" * 4096),
    ],
)
def test_prompts_come_into_one_form(text, clean):
    assert clean_prompt(text) == clean
    assert clean_prompt(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\u00a0\u3000", "a\0b", "a\nb", "\ta", "\x7f", "\x9b31m", "\x1b[31mred\x1b[0m"),
        *("\ud800", "a\udcff", "\u202eabc", "a\u2066b\u2069", "\u200fa", "\ufeffa", "a\u200bb"),
        *("\ue000", "\u0378", "x" * 4097, "é" * 2049, "a" * 1_000_000, "\U0001d15e" * 1000),
    ],
)
def test_what_is_no_prompt_is_refused(runtime, text):
    with pytest.raises(MalformedFileError) as error:
        runtime.prompt(text)
    assert error.value.exit_code == 3
    assert str(error.value).replace("\n", "").isprintable() and len(str(error.value)) < 300


@pytest.mark.filterwarnings("ignore::rs_runtime.prompts.CutPromptWarning")
def test_any_prompt_is_read_or_refused(runtime):
    rng = random.Random(5)
    for _ in range(300):
        text = "".join(chr(rng.randrange(rng.choice((128, 0x3000, 0x110000)))) for _ in range(9))
        try:
            domain = runtime.prompt(text)
        except MalformedFileError:
            continue
        assert domain.source == clean_prompt(text)


def test_a_bundle_without_prompts_says_what_to_do(tmp_path):
    plain = rs_runtime.load(build(tmp_path / "plain"), provider="cpu")
    for ask in (lambda: plain.prompt("a"), lambda: plain.style(flat(RED))):
        with pytest.raises(IncompatibleError, match="rs-export --model two_stage --checkpoint"):
            ask()


def test_without_the_library_the_message_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    runtime = rs_runtime.load(folder, provider="cpu")
    with pytest.raises(ResourceError, match=r"pip install \"\.\[prompt\]\""):
        runtime.prompt("a")
    runtime.style(flat(RED))  # pictures need no tokens


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"settings": b"{}"}, MalformedFileError),
        (
            {"settings": SETTINGS.to_json().replace(b'"version":1', b'"version":2')},
            IncompatibleError,
        ),
        ({"tokenizer": b"{}"}, MalformedFileError),
        ({"tokenizer": damaged_tokenizer("normalizer.type", "Strip")}, MalformedFileError),
        ({"tokenizer": damaged_tokenizer("model.merges", [["a", "zz"]])}, MalformedFileError),
        ({"tokenizer": damaged_tokenizer("model.vocab", {"a": -1})}, MalformedFileError),
        ({"tokenizer": damaged_tokenizer("model.vocab", {"a": 4_000_000_000})}, MalformedFileError),
        ({"settings": PromptSettings(CONTEXT, 0, END, "x").to_json()}, MalformedFileError),
        (
            {
                "tokenizer": damaged_tokenizer(
                    "normalizer",
                    {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"},
                )
            },
            UnsafeFileError,
        ),
    ],
)
def test_damaged_prompt_files_are_refused(tmp_path, files, error, capfd):
    runtime = rs_runtime.load(build_with_prompts(tmp_path / "b", **files), provider="cpu")
    with pytest.raises(error):
        runtime.prompt("a" * 20)
    assert capfd.readouterr() == ("", "")


def test_bent_tokenizers_are_refused_or_read_as_other_ones(runtime):
    """Wounds of the text and of its tree never end in another error than ours."""
    rng = random.Random(3)
    text = tokenizer_json()
    read, refused = 0, 0
    for n in range(400):
        at = rng.randrange(len(text))
        wound = rng.choice(("", "0", '"', "{", "]", "null", "\\u0000"))
        bent = text[:at] + wound + text[at + n % 3 :]
        if n % 2:
            tree = json.loads(text)
            part = tree[rng.choice(["normalizer", "pre_tokenizer", "post_processor", "model"])]
            part[rng.choice(list(part))] = rng.choice([None, 0, -1, "x", [], {}, [[]], 10**12])
            bent = json.dumps(tree)
        files = {TOKENIZER_PATH: bent.encode(), SETTINGS_PATH: SETTINGS.to_json()}
        with mock.patch.object(Bundle, "read", lambda self, path, files=files: files[path]):
            try:
                PromptReader(runtime.bundle).read("a b")
                read += 1
            except (MalformedFileError, UnsafeFileError):
                refused += 1
    assert refused > 250 and read > 5
