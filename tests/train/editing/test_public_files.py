"""Public directions: what each kind of file becomes, and what is refused, unexecuted."""

import json
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from rs_runtime.contracts.directions import encode_direction
from rs_runtime.contracts.errors import (
    IncompatibleError,
    MalformedFileError,
    UnsafeFileError,
    UsageError,
)
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.editing import edit
from rs_runtime.mixing import neutral
from rs_train.editing.public_files import (
    Components,
    StyleDeviations,
    Target,
    Vector,
    component_direction,
    entry_direction,
    published,
    read_public_file,
    style_direction,
    vector_direction,
)
from rs_train.importers.numpy_file import read_npy

TABLE = LayerTable.from_channels({4: 4, 8: 3}, w_dim=5)
TARGET = Target(TABLE, "f0" * 32, "CC0-1.0", "tests")
RNG = np.random.default_rng(2)
LAYERS = [RNG.random(layer.in_channels).astype("f4") for layer in TABLE.layers]
FFHQ = LayerTable.from_channels(
    {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}, 512
)


def save_pickle(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def test_vectors_are_broadcast_or_taken_row_by_row(tmp_path):
    for name, shape in {"w": (1, 5), "fse": (1, 20), "plus": (1, 4, 5)}.items():
        values = RNG.normal(size=shape).astype("f4")
        np.save(tmp_path / f"{name}.npy", np.asfortranarray(values))
        torch.save(torch.tensor(values), tmp_path / f"{name}.pt")
        for suffix in ("npy", "pt"):
            file = read_public_file(tmp_path / f"{name}.{suffix}")
            assert isinstance(file.content, Vector)
            made = vector_direction(file.content, TARGET, name, rows=(1, 3), scale=2)
            rows = np.broadcast_to(values.reshape(-1, 5), (4, 5))
            np.testing.assert_allclose(made.step[1:3], 2 * rows[1:3], rtol=1e-6)
            assert not made.step[[0, 3]].any()
    with pytest.raises(IncompatibleError, match="another size"):
        vector_direction(Vector(np.ones(6)), TARGET, "x")
    with pytest.raises(UsageError, match="no rows"):
        vector_direction(Vector(np.ones(5)), TARGET, "x", rows=(2, 5))


@pytest.mark.parametrize("suffix", ["pt", "npz"])
def test_components_set_the_coordinate_that_ganspace_says(tmp_path, suffix):
    basis = np.linalg.qr(RNG.normal(size=(5, 5)))[0].astype("f4")
    mean, std = RNG.normal(size=(1, 5)).astype("f4"), np.arange(1, 6, dtype="f4")
    path = tmp_path / f"pca.{suffix}"
    if suffix == "pt":
        parts = {"mean": mean, "std": std, "comp": basis[:, None]}
        torch.save({key: torch.tensor(value) for key, value in parts.items()}, path)
    else:
        np.savez_compressed(
            path, lat_comp=basis[:, None], lat_mean=mean, lat_stdev=std, var_ratio=std
        )
    file = read_public_file(path)
    assert isinstance(file.content, Components)
    made = component_direction(file.content, TARGET, "x", component=2, rows=(1, 3), sigma=-1.5)
    w_plus = RNG.normal(size=(1, 4, 5)).astype("f4")
    edited, _ = edit(w_plus, neutral(1, TABLE), [[(made, 1.0)]], TABLE)
    # As GANSpace writes it.
    coordinate = ((w_plus[0, 0] - mean[0]) @ basis[2]) / std[2]
    expected = w_plus.copy()
    expected[0, 1:3] += (-1.5 - coordinate) * basis[2] * std[2]
    np.testing.assert_allclose(edited, expected, atol=1e-5)
    with pytest.raises(UsageError, match="no component 5"):
        component_direction(file.content, TARGET, "x", component=5, rows=None, sigma=1)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_style_channels_move_by_their_own_deviation(tmp_path, protocol):
    means = [np.zeros_like(own) for own in LAYERS]
    file = read_public_file(save_pickle(tmp_path / "S_mean_std", [means, LAYERS], protocol))
    assert isinstance(file.content, StyleDeviations)
    made = style_direction(file.content, TARGET, "x", [(1, 2), (1, 0), (3, 1)])
    assert made.style_offset.keys() == {"b4.torgb", "b8.conv1"}
    np.testing.assert_allclose(made.style_offset["b4.torgb"], LAYERS[1] * [1, 0, 1, 0])
    encode_direction(made)
    samples = [RNG.normal(size=(50, own.size)) for own in LAYERS]
    names = [layer.name for layer in TABLE.layers]
    styles = read_public_file(save_pickle(tmp_path / "S", [names, samples], protocol)).content
    np.testing.assert_allclose(styles.layers[4], samples[4].std(axis=0))
    with pytest.raises(UsageError, match="no channel 1,4"):
        style_direction(file.content, TARGET, "x", [(1, 4)])
    with pytest.raises(IncompatibleError, match="another generator"):
        style_direction(StyleDeviations(file.content.layers[:3]), TARGET, "x", [(0, 0)])


@dataclass(frozen=True)
class _File:
    content: object


def test_every_published_entry_is_one_of_ffhq_or_cars():
    target = Target(FFHQ, "0" * 64, "", "published")
    styles = StyleDeviations(tuple(np.ones(layer.in_channels) for layer in FFHQ.layers))
    components = Components(np.zeros(512), np.ones(80), np.eye(80, 512))
    for content, entries in (
        (styles, published()["style_space"]),
        (components, published()["ganspace"]),
    ):
        assert entries.keys() == {"ffhq", "cars"}
        for entry in (*entries["ffhq"], *entries["cars"]):
            encode_direction(entry_direction(_File(content), target, entry))
        with pytest.raises(UsageError, match="no entry 'x'"):
            entry_direction(_File(content), target, "x")


class _Harmful:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_nothing_is_executed(tmp_path):
    canary = tmp_path / "canary"
    harmful = [[_Harmful(canary)], LAYERS]
    objects = np.array([{}], dtype=object)
    np.save(tmp_path / "objects.npy", objects)
    np.savez(tmp_path / "objects.npz", a=objects)
    files = [
        save_pickle(tmp_path / "code.pkl", harmful),
        save_pickle(tmp_path / "in_array.pkl", np.array([_Harmful(canary)], dtype=object)),
        tmp_path / "objects.npy",
        tmp_path / "objects.npz",
    ]
    for file in files:
        with pytest.raises(UnsafeFileError):
            read_public_file(file)
    assert not canary.exists()


@pytest.mark.parametrize("damage", ["short", "long", "header", "nan", "other", "empty"])
def test_damaged_files_are_refused(tmp_path, damage):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((1, 5), "f4"))
    data = path.read_bytes()
    changed = {
        "short": data[:-3],
        "long": data + b"x",
        "header": data.replace(b"(1, 5)", b"(9, 5)"),
        "nan": data[:-4] + np.float32(np.nan).tobytes(),
        "other": json.dumps([1, 2]).encode(),
        "empty": b"",
    }
    path.write_bytes(changed[damage])
    with pytest.raises(MalformedFileError, match=r"a\.npy"):
        read_public_file(path)


def test_random_changes_of_an_array_end_in_an_error_or_an_array(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((2, 3), "f4"))
    data = path.read_bytes()
    for _ in range(2000):
        changed = bytearray(data)
        changed[RNG.integers(90)] = RNG.integers(256)
        try:
            array = read_npy(bytes(changed)).array()
        except (MalformedFileError, UnsafeFileError):
            continue
        assert array.nbytes == 24
