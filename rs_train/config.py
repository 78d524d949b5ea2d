"""Configuration: frozen dataclasses, TOML presets, strict overrides."""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from rs_runtime.contracts.errors import UsageError

T = TypeVar("T")

# Fields of these types are checked when a configuration is loaded.
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]


def load(cls: type[T], preset: str | Path, overrides: Iterable[str] = ()) -> T:
    """Build a configuration from a preset's name or a TOML file, then `section.key=value`.

    Args:
        cls: A frozen dataclass; nested dataclasses are its sections.
        preset: Stem of a file in rs_train/presets, or the path of a TOML file.
        overrides: Values as TOML literals; a word that is none is taken as a string.

    Raises:
        UsageError: Unknown preset or key (the nearest names are given), or a value of wrong type.
    """
    data = _read(preset)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise UsageError(f"--set {override}", expected="section.key=value")
        *sections, leaf = key.split(".")
        target = data
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise UsageError(f"--set {override}", found=f"{section} is no section")
        target[leaf] = _literal(text)
    _refuse_unknown(cls, data, prefix="")
    try:
        return TypeAdapter(cls).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "configuration"
        raise UsageError(
            f"{preset}: {where}: {first['msg']}", found=repr(first.get("input"))[:200]
        ) from error


def presets() -> list[str]:
    """Names of the shipped presets."""
    folder = resources.files("rs_train") / "presets"
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml"))


def _read(preset: str | Path) -> dict[str, Any]:
    path = Path(preset)
    if path.suffix == ".toml":
        try:
            text = path.read_text()
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", hint=_preset_hint()) from error
    elif str(preset) in presets():
        text = (resources.files("rs_train") / "presets" / f"{preset}.toml").read_text()
    else:
        near = difflib.get_close_matches(str(preset), presets())
        raise UsageError(
            f"no preset {preset!r}",
            expected=f"one of {', '.join(presets())}",
            hint=f"did you mean {near[0]}?" if near else _preset_hint(),
        )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{preset}: not valid TOML: {error}") from error


def _preset_hint() -> str:
    return "give a preset's name or the path of a .toml file"


def _literal(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _refuse_unknown(cls: Any, data: Any, prefix: str) -> None:
    """Unknown keys are errors: a misspelt option must not train the wrong thing for hours."""
    if not dataclasses.is_dataclass(cls) or not isinstance(data, dict):
        return
    hints = typing.get_type_hints(cls)
    names = {field.name for field in dataclasses.fields(cls)}
    for key, value in data.items():
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            raise UsageError(
                f"unknown option {prefix}{key}",
                expected=f"one of {', '.join(sorted(names))}",
                hint=f"did you mean {prefix}{near[0]}?" if near else "",
            )
        hint = hints[key]
        if isinstance(hint, types.UnionType):
            hint = next((a for a in hint.__args__ if dataclasses.is_dataclass(a)), hint)
        _refuse_unknown(hint, value, f"{prefix}{key}.")
