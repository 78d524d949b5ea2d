"""docs/formats.md says what the contracts are."""

import dataclasses

import pytest

from rs_runtime.contracts import (
    bundle,
    engine_file,
    errors,
    layers,
    manifest,
    prompt,
    roles,
    sealed_file,
    token_rules,
    tokens,
)
from rs_runtime.contracts.image_spec import ImageSpec
from tests.readme.pages import ROOT, table_rows

_PAGE = ROOT / "docs" / "formats.md"
_TEXT = _PAGE.read_text(encoding="utf-8")
_WORDS = set(_TEXT.replace("`", " ").replace(",", " ").replace(";", " ").replace(":", " ").split())


def test_exit_codes_are_those_of_the_error_classes():
    table = {}
    for row in table_rows(_PAGE):
        if len(row) == 3 and row[0].isdigit() and row[1].startswith("`"):
            table[row[1].strip("`")] = int(row[0])
    classes = {
        name: value.exit_code
        for name, value in vars(errors).items()
        if isinstance(value, type)
        and issubclass(value, errors.RefineStyleError)
        and value is not errors.RefineStyleError
    }
    assert table == classes


def test_interruptions_are_named():
    from rs_runtime.cli import _main

    for code in (_main.INTERRUPTED, _main.TERMINATED, _main.BROKEN_PIPE):
        assert str(code) in _TEXT


def _fields(*classes) -> list[str]:
    return [field.name for cls in classes for field in dataclasses.fields(cls)]


@pytest.mark.parametrize(
    "names",
    [
        list(token_rules.TOKENS.metadata),
        ["P", "Q", "style_offset", "modulation", "w_plus"],
        _fields(manifest.Manifest),
        _fields(roles.Role, roles.TensorSpec, roles.Variant, manifest.FileEntry),
        _fields(manifest.Reconstruction),
        _fields(prompt.PromptSettings),
        list(prompt.PROMPT_ROLES),
        ["golden", "inputs", "outputs", "max_abs"],
        _fields(layers.Layer),
        _fields(ImageSpec),
        _fields(engine_file.EngineFile, engine_file.Machine, engine_file.Recipe),
        _fields(engine_file.ShapeRange, engine_file.PluginLibrary),
        [engine_file.FORMAT, *engine_file.MADE],
        list(roles.MODEL_ROLES),
        sorted({role for needed in roles.MODEL_ROLES.values() for role in needed}),
        [
            token_rules.TOKENS.name,
            token_rules.TOKENS.version,
            manifest.FORMAT,
            manifest.MANIFEST_NAME,
        ],
    ],
    ids=lambda names: names[0],
)
def test_every_field_is_described(names):
    assert [name for name in names if name not in _WORDS] == []


@pytest.mark.parametrize(
    "number",
    [
        tokens.MAX_TOKEN_FILE_BYTES,
        int(sealed_file.MAX_VALUE),
        token_rules.MAX_RANK,
        bundle.MAX_MANIFEST_BYTES,
    ],
)
def test_limits_are_the_code_s(number):
    assert f"{number:,}" in _TEXT or str(number) in _TEXT


def test_model_kinds_and_labels_are_the_trainer_s():
    from rs_train.checkpoint import FORMAT, MODELS
    from rs_train.portraits.canvas import MASK_NAMES
    from rs_train.portraits.folder import RenderSettings, label

    line = label(RenderSettings(1, 64, 1, "photo", False, False), 0)
    names = [FORMAT, *MODELS, *MASK_NAMES, *line, *line["attributes"]]
    names += [word for landmark in line["landmarks"] for word in landmark.split()]
    assert [name for name in names if name not in _WORDS] == []


def test_roles_take_and_give_what_the_exporter_makes():
    """Names of every role's tensors, as the exporter writes them, are in the role's row."""
    rows: dict[str, str] = {}
    for row in table_rows(_PAGE):
        if len(row) == 3 and row[0].startswith("`"):
            rows[row[0].split("`")[1]] = " ".join(row)
    tensors = {
        "preprocess": ("photo", "image"),
        "mapping": ("z", "truncation_psi", "w"),
        "base_inverter": ("image", "w_plus"),
        "refiner": ("image", "first_inversion", "P", "Q"),
        "synthesis": ("w_plus", "P", "Q", "style_offset", "modulation", "image", "image_float"),
        "landmarks": ("photo", "score", "points"),
        "text": ("tokens", "embedding"),
        "vision": ("image", "embedding"),
        "hypernetwork": ("embedding", "P", "Q"),
    }
    from rs_runtime.pipeline import DEMO_BUNDLE

    if DEMO_BUNDLE.is_dir():
        roles = bundle.read_bundle(DEMO_BUNDLE).manifest.roles
        made = {n: tuple(s.name for s in (*r.inputs, *r.outputs)) for n, r in roles.items()}
        assert made == tensors
    for role, names in tensors.items():
        assert [name for name in names if f"`{name}`" not in rows[role]] == []
