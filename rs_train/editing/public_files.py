"""Directions of other projects: what their files hold, and what that is as a `Direction`.

* InterFaceGAN (`.npy`, [1, 512]), FSE (`.npy`, [1, rows · 512]) and the pSp family (`.pt`, [1, 512]
  or [1, rows, 512]): vectors that are added, to every row or row by row.
* GANSpace (`.pt` dicts with mean, std and comp, or `.npz` caches): principal components of w. Its
  edits are absolute, w[first:last] += (σ − coordinate) · component · deviation, with the coordinate
  read off row 0.
* StyleSpace (pickles of statistics, two lists of one array a layer: means, deviations; or of the
  styles themselves, [samples, channels] a layer): channels, shifted by their own deviation.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rs_runtime.contracts.directions import Direction
from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UsageError
from rs_runtime.contracts.layers import LayerTable
from rs_train.importers.sandbox import Extract, extract
from rs_train.importers.sniff import DIRECTION

_TABLE = Path(__file__).with_name("published.toml")
_GANSPACE_KEYS = (("comp", "mean", "std"), ("lat_comp", "lat_mean", "lat_stdev"))

Rows = tuple[int, int]


@dataclass(frozen=True)
class Vector:
    """One vector.

    Attributes:
        values: Of any shape.
    """

    values: np.ndarray


@dataclass(frozen=True)
class Components:
    """Principal components of w.

    Attributes:
        mean: [w_dim].
        deviation: [K], standard deviation along each component.
        components: [K, w_dim], unit vectors.
    """

    mean: np.ndarray
    deviation: np.ndarray
    components: np.ndarray


@dataclass(frozen=True)
class StyleDeviations:
    """How much every style channel varies.

    Attributes:
        layers: [Cin] of every layer, convolutions and toRGBs in the order they run.
    """

    layers: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class PublicFile:
    """A file of another project.

    Attributes:
        content: What is in it.
        source: Its name and hash, for the directions' `source`.
    """

    content: Vector | Components | StyleDeviations
    source: str


@dataclass(frozen=True)
class Target:
    """Which generator directions are for, and what to say of them.

    Attributes:
        table: Its layers.
        fingerprint: Its fingerprint.
        licence: Of the directions.
        source: Where they come from.
    """

    table: LayerTable
    fingerprint: str
    licence: str
    source: str

    def direction(self, kind: str, name: str, unit: str, **arrays: Any) -> Direction:
        """A direction for this generator."""
        return Direction(
            kind=kind,
            name=name,
            unit=unit,
            source=self.source,
            licence=self.licence,
            fingerprint=self.fingerprint,
            table_hash=self.table.hash,
            **arrays,
        )


def read_public_file(path: Path) -> PublicFile:
    """Read a file of directions; nothing in it is executed.

    Raises:
        MalformedFileError: Damaged, or none of the known kinds.
        UnsafeFileError: It carries code or Python objects.
        ResourceError: Reading it took too much memory or time.
        UsageError: No such file.
    """
    found = extract(path, DIRECTION)
    arrays = {name: tensor.numpy().astype(np.float64) for name, tensor in found.tensors.items()}
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:
        raise MalformedFileError(f"{path}: {broken[0]} is not finite")
    return PublicFile(_content(path, found, arrays), f"{path.name}, sha256 {found.sha256}")


def _content(
    path: Path, found: Extract, arrays: dict[str, np.ndarray]
) -> Vector | Components | StyleDeviations:
    for comp, mean, std in _GANSPACE_KEYS:
        if {comp, mean, std} <= arrays.keys():
            deviation = arrays[std].reshape(-1)
            components = arrays[comp].reshape(len(deviation), -1)
            return Components(arrays[mean].reshape(-1), deviation, components)
    if len(arrays) == 1:
        return Vector(next(iter(arrays.values())))
    lists: dict[str, list[np.ndarray]] = {}
    for name, array in arrays.items():
        lists.setdefault(name.rpartition("/")[0], []).append(array)
    if lists.keys() == {"0", "1"} and len(lists["0"]) == len(lists["1"]):
        return StyleDeviations(tuple(array.reshape(-1) for array in lists["1"]))
    if len(lists) == 1 and all(array.ndim == 2 for array in arrays.values()):
        return StyleDeviations(tuple(array.std(axis=0) for array in arrays.values()))
    raise MalformedFileError(
        f"{path}: not a file of directions that is known",
        found=f"{found.container} with {', '.join(list(arrays)[:6])}",
        expected="one vector, GANSpace's mean, std and comp, or StyleSpace's lists",
    )


# ------------------------------------------------------------------------------------- directions


def vector_direction(
    vector: Vector, target: Target, name: str, *, rows: Rows | None = None, scale: float = 1.0
) -> Direction:
    """A vector that is added.

    Args:
        vector: w_dim numbers for every row, or num_ws · w_dim.
        target: The generator.
        name: Of the direction.
        rows: Which rows of w_plus it is added to, [first, last); all by default.
        scale: How many of the vector a strength of 1 is.

    Raises:
        IncompatibleError: It is of another size than the generator's latents.
        UsageError: Rows that the generator does not have.
    """
    table = target.table
    sizes = {table.w_dim: (1, table.w_dim), table.num_ws * table.w_dim: (-1, table.w_dim)}
    if vector.values.size not in sizes:
        raise IncompatibleError(
            f"{name}: a vector of another size than the generator's latents",
            found=str(list(vector.values.shape)),
            expected=f"{table.w_dim} numbers, or {table.num_ws} x {table.w_dim}",
        )
    values = scale * vector.values.reshape(sizes[vector.values.size])
    unit = f"{scale:g} x the published vector" if scale != 1 else "the published vector"
    return target.direction("linear", name, unit, step=on_rows(values, table, rows))


def component_direction(
    file: Components, target: Target, name: str, *, component: int, rows: Rows | None, sigma: float
) -> Direction:
    """GANSpace's edit: to the coordinate `sigma` of one component, in the rows [first, last).

    Raises:
        IncompatibleError: Components of another generator's w.
        UsageError: A component or rows that do not exist.
    """
    table = target.table
    if not 0 <= component < len(file.components):
        raise UsageError(
            f"{name}: there is no component {component}",
            expected=f"0 to {len(file.components) - 1}",
        )
    axis, deviation = file.components[component], file.deviation[component]
    if axis.shape != (table.w_dim,) or file.mean.shape != axis.shape:
        raise IncompatibleError(
            f"{name}: components of another size than the generator's w",
            found=str(axis.size),
            expected=str(table.w_dim),
        )
    return target.direction(
        "absolute",
        name,
        f"all the way to {sigma:g} standard deviations of component {component}",
        step=on_rows(axis[None], table, rows),
        # (σ·d − axis·(w − mean)) / |axis|² is what is missing along the axis.
        axis=axis / (axis @ axis),
        goal=file.mean + sigma * deviation * axis,
    )


def style_direction(
    file: StyleDeviations, target: Target, name: str, channels: Sequence[Rows]
) -> Direction:
    """StyleSpace's edit: some (layer, channel), each by its own standard deviation.

    Raises:
        IncompatibleError: Styles of another generator.
        UsageError: A layer or channel that does not exist.
    """
    layers = target.table.layers
    found = [array.size for array in file.layers]
    expected = [layer.in_channels for layer in layers]
    if found != expected:
        raise IncompatibleError(
            f"{name}: styles of another generator",
            found=f"{len(found)} layers of {_brief(found)} channels",
            expected=f"{len(expected)} layers of {_brief(expected)}",
        )
    offsets: dict[str, np.ndarray] = {}
    for index, channel in channels:
        if not (0 <= index < len(layers) and 0 <= channel < expected[index]):
            raise UsageError(
                f"{name}: there is no channel {index},{channel}",
                expected=f"a layer from 0 to {len(layers) - 1} and one of its channels",
            )
        offset = offsets.setdefault(layers[index].name, np.zeros(expected[index]))
        offset[channel] = file.layers[index][channel]
    unit = "one standard deviation of each channel"
    return target.direction("style", name, unit, style_offset=offsets)


def on_rows(values: np.ndarray, table: LayerTable, rows: Rows | None) -> np.ndarray:
    """[1 or num_ws, w_dim] on the rows [first, last) of w_plus, zero on the others.

    Raises:
        UsageError: Rows that the generator does not have.
    """
    first, last = (0, table.num_ws) if rows is None else rows
    if not 0 <= first < last <= table.num_ws:
        raise UsageError(
            f"there are no rows {first}:{last}", expected=f"FIRST:LAST within 0:{table.num_ws}"
        )
    step = np.zeros((table.num_ws, table.w_dim))
    step[first:last] = np.broadcast_to(values, step.shape)[first:last]
    return step


def _brief(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes[:4])) + (", …" if len(sizes) > 4 else "")


# -------------------------------------------------------------------------------- published entries


@cache
def published() -> dict[str, dict[str, dict[str, Any]]]:
    """Entries by data set and name, under `ganspace` and `style_space`; see published.toml."""
    return tomllib.loads(_TABLE.read_text(encoding="utf-8"))


def published_sets(file: PublicFile) -> dict[str, dict[str, Any]]:
    """The published entries that are for this kind of file, by data set and name."""
    if isinstance(file.content, Components):
        return published()["ganspace"]
    return published()["style_space"] if isinstance(file.content, StyleDeviations) else {}


def entry_direction(file: PublicFile, target: Target, entry: str) -> Direction:
    """The direction of a published entry.

    Raises:
        UsageError: None of that name is for this kind of file.
        IncompatibleError: A file of another generator.
    """
    entries = {name: own for part in published_sets(file).values() for name, own in part.items()}
    if entry not in entries:
        raise UsageError(
            f"no entry {entry!r} is published for this kind of file",
            expected=", ".join(entries) or "no --entry: a vector is a direction by itself",
        )
    target = replace(target, source=f"{target.source}, entry {entry}")
    if isinstance(file.content, StyleDeviations):
        return style_direction(file.content, target, entry, [(a, b) for a, b in entries[entry]])
    known = entries[entry]
    rows = (known["rows"][0], known["rows"][1])
    return component_direction(
        file.content,
        target,
        entry,
        component=known["component"],
        rows=rows,
        sigma=float(known["sigma"]),
    )
