"""Domains of texts and pictures in ``rs-run``: strengths, files, refusals, what is said of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rs_runtime
from rs_runtime.cli import run
from rs_runtime.cli._verbs import group
from rs_runtime.image_io import load_picture
from tests.runtime.tiny_bundle import build
from tests.runtime.tiny_prompt import CONTEXT, build_with_prompts, damaged_tokenizer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def rs_run(tmp_path, monkeypatch, capsys):
    """Runs a command line in a folder with photo.png, look.png, and the bundle tiny."""
    build_with_prompts(tmp_path / "tiny")
    for name, colour in (("photo", (200, 80, 60)), ("look", (51, 204, 9))):
        Image.fromarray(np.full((8, 8, 3), colour, np.uint8)).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)

    def call(*args: str, code: int = 0, bundle: str = "tiny") -> tuple[str, str]:
        with pytest.raises(SystemExit) as ending:
            run(group, "rs-run", [*args, "--bundle", bundle] if bundle else [*args])
        out, err = capsys.readouterr()
        assert ending.value.code == code, err
        return out, err

    return call


def expected(*domains) -> np.ndarray:
    runtime = rs_runtime.load("tiny", threads=1)
    made = [
        (runtime.prompt(own[7:]) if own.startswith("prompt:") else own, strength)
        if not own.startswith("style:")
        else (runtime.style(own[6:]), strength)
        for own, strength in domains
    ]
    return runtime.invert("photo.png", check=False).synthesize(made)


def test_a_prompt_a_picture_and_a_domain_mix(rs_run):
    asked = ("--prompt", "a red=blue face=0.5", "--style", "look.png=-2", "-d", "oil=0.25")
    out, _ = rs_run("invert", "photo.png", *asked, "--no-strip")
    name = "photo.oil=0.25+a-red_blue-face=0.5+look=-2.png"
    assert out == f"wrote {name}\n"
    mix = (("oil", 0.25), ("prompt:a red=blue face", 0.5), ("style:look.png", -2))
    np.testing.assert_array_equal(load_picture(name), expected(*mix))


def test_what_follows_an_equals_sign_may_be_text(rs_run):
    for text, label in (("a=", "a_"), ("x=y", "x_y"), ("x=nan", "x_nan"), ("=1", "_1")):
        out, _ = rs_run("invert", "photo.png", "--prompt", text, "--no-strip")
        assert out == f"wrote photo.{label}.png\n"


def test_a_domain_is_saved_and_gives_the_same_picture(rs_run):
    asked = ("--prompt", "Charcoal", "--save-domain", "mine.tokens")
    out, _ = rs_run("invert", "photo.png", *asked)
    assert out.splitlines()[-1] == "wrote mine.tokens"
    rs_run("invert", "photo.png", "-d", "mine.tokens", "--no-strip")
    np.testing.assert_array_equal(
        load_picture("photo.mine.png"), load_picture("photo.Charcoal.png")
    )
    facts = json.loads(rs_run("info", "mine.tokens", "--json", bundle="")[0])
    assert (facts["name"], facts["source"], facts["kind"]) == ("mine", "Charcoal", "domain")


def test_random_heads_and_sheets(rs_run):
    out, _ = rs_run("synth", "--seed", "1-2", "--prompt", "Charcoal")
    assert out == "wrote head.1.Charcoal.png\nwrote head.2.Charcoal.png\n"
    facts = json.loads(rs_run("compare", "photo.png", "--prompt", "Charcoal", "--json")[0])
    assert facts["domains"] == ["Charcoal"]
    asked = ("--prompt", "a=2", "--style", "look.png", "--domains", "oil")
    facts = json.loads(rs_run("compare", "photo.png", *asked, "--json")[0])
    assert facts["domains"] == ["oil", "a=2", "look"]
    facts = json.loads(rs_run("compare", "photo.png", "--json")[0])
    assert facts["domains"] == ["oil", "sketch"]


def test_a_prompt_that_is_cut_is_said_in_a_line(rs_run):
    _, err = rs_run("invert", "photo.png", "--prompt", "x" * (CONTEXT + 5), "--no-strip")
    assert "rs-run: warning: the prompt is longer than the 24 tokens" in err
    assert "UserWarning" not in err and ".py" not in err


@pytest.mark.parametrize("text", ["", "  ", "a\x1b[31m", "\u202ea", "a\udc80", "x" * 5000])
def test_no_prompt_is_refused_before_any_work(rs_run, tmp_path, text):
    _, err = rs_run("invert", "photo.png", "--prompt", text, code=3)
    assert "the prompt" in err and "\x1b" not in err and "\u202e" not in err
    assert not list(tmp_path.glob("photo.*.png"))


def test_other_refusals(rs_run, tmp_path, monkeypatch):
    build(tmp_path / "plain")
    _, err = rs_run("invert", "photo.png", "--prompt", "a", bundle="plain", code=5)
    assert "rs-export --model two_stage --checkpoint FOLDER" in err
    rs_run("invert", "photo.png", "--style", "look.png", bundle="plain", code=5)
    rs_run("invert", "photo.png", "--style", "nothing.png", code=2)
    (tmp_path / "text.png").write_text("no picture")
    rs_run("invert", "photo.png", "--style", "text.png", code=3)
    rs_run("invert", "photo.png", "--save-domain", "a.tokens", code=2)
    both = ("--prompt", "a", "--prompt", "b", "--save-domain", "a.tokens")
    _, err = rs_run("invert", "photo.png", *both, code=2)
    assert "found 2 of them" in err
    rs_run("invert", "photo.png", "--style", "look.png", "--save-domain", "look.png", code=2)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    _, err = rs_run("invert", "photo.png", "--prompt", "a", code=6)
    assert 'pip install ".[prompt]"' in err
    assert not list(tmp_path.glob("photo.*.png")) and not list(tmp_path.glob("*.tokens"))


def test_info_and_doctor_say_what_prompts_are_understood(rs_run, tmp_path, monkeypatch):
    out, _ = rs_run("info", "tiny", bundle="")
    assert "knows  looks of flat colours" in out and "reads  24 tokens, of 258" in out
    facts = json.loads(rs_run("info", "tiny", "--json", bundle="")[0])
    assert facts["prompts"]["context_length"] == CONTEXT
    build(tmp_path / "plain")
    assert json.loads(rs_run("info", "plain", "--json", bundle="")[0])["prompts"] is None

    def finding(code: int = 0, bundle: str = "tiny") -> dict:
        found = json.loads(rs_run("doctor", "--json", code=code, bundle=bundle)[0])
        return next((own for own in found if own["subject"] == "prompts"), {})

    assert finding()["detail"] == "the bundle knows looks of flat colours"
    assert finding(bundle="plain") == {}
    build_with_prompts(tmp_path / "bad", tokenizer=damaged_tokenizer("model.merges", 7))
    assert finding(code=3, bundle="bad")["state"] == "problem"
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert finding()["state"] == "absent" and "pip install" in finding()["detail"]


@pytest.mark.parametrize(
    ("prompt", "code"), [(b"\xc3\xa9tude", 0), (b"a \xff", 3), (b"\x1b[31mred", 3)]
)
def test_prompts_of_a_shell_without_a_locale(rs_run, tmp_path, prompt, code):
    """Bytes of the command line, without a home, in the C locale."""
    command = [sys.executable, "-m", "rs_runtime.cli", "invert", "photo.png", "--prompt", prompt]
    done = subprocess.run(
        [*command, "--no-strip", "--bundle", "tiny", "--out", "out.png"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": "C"},
        capture_output=True,
        umask=0o077,
        timeout=100,
    )
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr and b"\x1b" not in done.stderr + done.stdout
    assert (tmp_path / "out.png").exists() == (code == 0)
