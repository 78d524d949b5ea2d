"""Every command in README and docs is one that our programs accept."""

import importlib
import itertools
import re
import tomllib

import click
import pytest

from tests.readme.pages import ELLIPSIS, PAGES, README, ROOT, Command, blocks, commands, prose

_COMMANDS = [command for page in PAGES for command in commands(page)]
_GROUPS = {
    "rs-run": "rs_runtime.cli._verbs:group",
    "rs-train": "rs_train.cli:group",
    "rs-export": "rs_export.cli:command",
}
_CONFIGURATIONS = {
    ("generator",): "rs_train.tasks.generator:GeneratorRun",
    ("domain",): "rs_train.tasks.domain_config:DomainRun",
    ("hypernetwork",): "rs_train.tasks.hypernetwork:HypernetworkRun",
    ("judge", "clip"): "rs_train.tasks.judge:ClipRun",
    ("judge", "arcface"): "rs_train.tasks.judge:ArcFaceRun",
    ("judge", "metric"): "rs_train.tasks.judge:MetricRun",
    ("landmarks",): "rs_train.tasks.landmarks:LandmarkRun",
}


def _load(target: str):
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _verb(command: Command) -> tuple[click.Command, tuple[str, ...], list[str]]:
    """The click command that is called, the verbs that lead to it, and the rest of the line."""
    found, words, verbs = _load(_GROUPS[command.program]), list(command.argv), ()
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        verb = words.pop(0)
        child = found.get_command(click.Context(found), verb)
        assert child is not None, f"{command}: no verb {verb!r}"
        found, verbs = child, (*verbs, verb)
    return found, verbs, words


def _check(command: Command) -> dict | None:
    """Parse a command line as click does; options alone where the page leaves something out."""
    found, _, words = _verb(command)
    if ELLIPSIS in words:
        known = {name for parameter in found.params for name in parameter.opts}
        used = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert used <= known, f"{command}: {used - known}"
        return None
    help_asked = "--help" in words or "--version" in words
    if help_asked:
        return None
    try:
        return found.make_context(command.program, list(words)).params
    except click.ClickException as error:
        pytest.fail(f"{command}: {error.format_message()}")


def test_the_pages_show_each_program_and_verb():
    shown = {(command.program, *_verb(command)[1][:1]) for command in _COMMANDS}
    for program in ("rs-run", "rs-train"):
        verbs = _load(_GROUPS[program]).verbs
        assert {(program, verb) for verb in verbs} <= shown
    assert ("rs-export",) in shown


@pytest.mark.parametrize("command", _COMMANDS, ids=str)
def test_every_command_line_parses(command):
    _check(command)


def test_a_wrong_command_line_is_noticed():
    good = next(command for command in _COMMANDS if command.argv[:1] == ("invert",))
    for argv in (("invertt",), (*good.argv, "--nosuch"), ("invert",), ("synth", "--nosuch", "…")):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            _check(Command(README, 1, "rs-run", argv))


def _configured() -> list[Command]:
    return [c for c in _COMMANDS if c.program == "rs-train" and {"--preset", "--set"} & {*c.argv}]


@pytest.mark.parametrize("command", _configured(), ids=str)
def test_presets_exist_and_set_names_options_that_exist(command):
    from rs_train.cli.domain import PRESETS as DOMAINS
    from rs_train.cli.inverter import DEFAULT, PRESETS
    from rs_train.config import load, presets
    from rs_train.tasks.inverters import RUNS

    found, verbs, words = _verb(command)
    default = next(p.default for p in found.params if p.name == "preset")
    values = {"--preset": [], "--set": [], "--model": []}
    for option, value in itertools.pairwise(words):
        values.get(option, []).append(value)
    preset = (values["--preset"] or [default])[0]
    if preset == DEFAULT:
        preset = PRESETS[values["--model"][0]] if values["--model"] else DOMAINS["tokens"]
    if preset.endswith(".toml"):  # the reader's own file
        preset = default
    assert preset in presets()
    cls = RUNS[values["--model"][0]] if verbs == ("inverter",) else _load(_CONFIGURATIONS[verbs])
    load(cls, preset, values["--set"])


def test_pip_extras_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set()
    for page in PAGES:
        text = prose(page) + "\n".join(block.text for block in blocks(page))
        named |= set(re.findall(r'"\.\[(\w+)\]"', text))
    assert {"cpu", "dev"} <= named <= set(project["optional-dependencies"])


def test_options_named_in_prose_exist():
    known = {"--help", "--version"}
    for target in _GROUPS.values():
        known |= _options(_load(target))
    for page in PAGES:
        named = set(re.findall(r"`[^`]*?(--[a-z][a-z0-9-]+)[^`]*`", prose(page)))
        foreign = {"--logdir"}  # TensorBoard's
        assert named - foreign <= known, page.name


def _options(command: click.Command) -> set[str]:
    options = {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for verb in command.list_commands(context):
            options |= _options(command.get_command(context, verb))
    return options
