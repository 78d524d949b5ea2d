"""The layer table: counts known from the literature, and shapes that form no synthesis network."""

from dataclasses import replace

import pytest

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UsageError
from rs_runtime.contracts.layers import LayerTable

FFHQ = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
# (in, out) of the 17 convolutions and the input of the 9 toRGB layers, as in the checkpoints.
FFHQ_CONVS = [(512, 512)] * 9 + [(512, 256), (256, 256), (256, 128), (128, 128), (128, 64)]
FFHQ_CONVS += [(64, 64), (64, 32), (32, 32)]
FFHQ_TORGBS = [512] * 5 + [256, 128, 64, 32]


def ffhq_shapes() -> tuple[list[list[int]], list[list[int]]]:
    return [[o, i, 3, 3] for i, o in FFHQ_CONVS], [[3, i, 1, 1] for i in FFHQ_TORGBS]


@pytest.mark.parametrize("source", ["channels", "shapes"])
def test_ffhq(source: str) -> None:
    if source == "channels":
        table = LayerTable.from_channels(FFHQ, 512)
    else:
        table = LayerTable.from_kernel_shapes(*ffhq_shapes(), 512)
    assert [(layer.in_channels, layer.out_channels) for layer in table.convs] == FFHQ_CONVS
    assert [layer.in_channels for layer in table.torgbs] == FFHQ_TORGBS
    assert (len(table.convs), len(table.torgbs)) == (17, 9)
    assert table.sum_in + table.sum_out == 11_616
    assert table.style_channels == 6_048
    assert table.style_channels_with_torgb == 9_088
    assert sum(x.in_channels * x.out_channels * x.kernel**2 for x in table.convs) == 23_583_744
    assert (table.num_ws, table.resolution) == (18, 1024)
    assert table == LayerTable.from_channels(FFHQ, 512)


@pytest.mark.parametrize(("size", "convs", "num_ws"), [(512, 15, 16), (256, 13, 14), (4, 1, 2)])
def test_other_sizes(size: int, convs: int, num_ws: int) -> None:
    table = LayerTable.from_channels({r: c for r, c in FFHQ.items() if r <= size}, 512)
    assert (len(table.convs), table.num_ws, table.resolution) == (convs, num_ws, size)


def test_order_names_and_w(table: LayerTable) -> None:
    rows = [(x.index, x.name, x.kind, x.resolution, x.up, x.w_index) for x in table.layers]
    assert rows == [
        (0, "b4.conv1", "conv", 4, 1, 0),
        (1, "b4.torgb", "torgb", 4, 1, 1),
        (2, "b8.conv0", "conv", 8, 2, 1),
        (3, "b8.conv1", "conv", 8, 1, 2),
        (4, "b8.torgb", "torgb", 8, 1, 3),
    ]
    big = LayerTable.from_channels(FFHQ, 512)
    assert [layer.w_index for layer in big.convs] == list(range(17))
    assert [layer.w_index for layer in big.torgbs] == list(range(1, 18, 2))


def test_slices_cover_packed_arrays(table: LayerTable) -> None:
    assert table.out_slices == {
        "b4.conv1": slice(0, 4),
        "b8.conv0": slice(4, 7),
        "b8.conv1": slice(7, 10),
    }
    assert table.in_slices == {
        "b4.conv1": slice(0, 4),
        "b8.conv0": slice(4, 8),
        "b8.conv1": slice(8, 11),
    }
    assert table.style_slices == table.in_slices | {
        "b4.torgb": slice(11, 15),
        "b8.torgb": slice(15, 18),
    }
    assert (table.sum_out, table.sum_in, table.style_channels_with_torgb) == (10, 11, 18)


def test_hash_depends_on_every_number(table: LayerTable) -> None:
    others = [
        LayerTable.from_channels({4: 4, 8: 3}, 6),
        LayerTable.from_channels({4: 4, 8: 2}, 5),
        LayerTable.from_channels({4: 4}, 5),
        LayerTable.from_channels({4: 4, 8: 3}, 5, kernel=1),
    ]
    assert len({other.hash for other in others} | {table.hash}) == 5
    assert LayerTable.from_channels({8: 3, 4: 4}, 5).hash == table.hash


def test_json_round_trip(table: LayerTable) -> None:
    again = LayerTable.from_json(table.to_json())
    assert again == table
    assert again.hash == table.hash


@pytest.mark.parametrize(
    "break_it",
    [
        lambda v: v.pop("w_dim"),
        lambda v: v.update(extra=1),
        lambda v: v.update(w_dim="5"),
        lambda v: v.update(w_dim=True),
        lambda v: v.update(w_dim=0),
        lambda v: v.update(layers={}),
        lambda v: v.update(layers=[]),
        lambda v: v["layers"].pop(),
        lambda v: v["layers"].append(v["layers"][0]),
        lambda v: v["layers"].reverse(),
        lambda v: v["layers"][0].update(in_channels=5),
        lambda v: v["layers"][0].update(out_channels=10**9),
        lambda v: v["layers"][2].update(up=1),
        lambda v: v["layers"][2].update(w_index=2),
        lambda v: v["layers"][2].update(kernel=5),
        lambda v: v["layers"][2].update(kernel=3.0),
        lambda v: v["layers"][2].update(name="b8.conv9"),
        lambda v: v["layers"][2].update(kind="conv2"),
        lambda v: v["layers"][2].update(resolution=10**30),
        lambda v: v["layers"][2].update(more=1),
        lambda v: v["layers"].__setitem__(0, "b4.conv1"),
    ],
)
def test_from_json_refuses(table: LayerTable, break_it: object) -> None:
    value = table.to_json()
    break_it(value)
    with pytest.raises(MalformedFileError):
        LayerTable.from_json(value)


@pytest.mark.parametrize(
    ("channels", "w_dim"),
    [
        ({}, 5),
        ({8: 4}, 5),
        ({4: 4, 16: 4}, 5),
        ({4: 4, 7: 4}, 5),
        ({4: 0}, 5),
        ({4: 4.0}, 5),
        ({4: 4}, 0),
        ({4: 4}, -1),
        ({4 << j: 1 for j in range(13)}, 5),
    ],
)
def test_from_channels_refuses(channels: dict[int, int], w_dim: int) -> None:
    with pytest.raises(UsageError):
        LayerTable.from_channels(channels, w_dim)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda convs, torgbs: convs.pop(),
        lambda convs, torgbs: torgbs.pop(),
        lambda convs, torgbs: (convs.clear(), torgbs.clear()),
        lambda convs, torgbs: convs[3].__setitem__(0, 511),
        lambda convs, torgbs: convs[3].__setitem__(1, 511),
        lambda convs, torgbs: convs[3].__setitem__(2, 1),
        lambda convs, torgbs: convs[0].__setitem__(2, 5),
        lambda convs, torgbs: convs[0].insert(0, 1),
        lambda convs, torgbs: torgbs[2].__setitem__(0, 4),
        lambda convs, torgbs: torgbs[8].__setitem__(1, 64),
        lambda convs, torgbs: torgbs.reverse(),
    ],
)
def test_from_kernel_shapes_refuses(break_it: object) -> None:
    convs, torgbs = ffhq_shapes()
    break_it(convs, torgbs)
    with pytest.raises(IncompatibleError, match="do not form a StyleGAN2"):
        LayerTable.from_kernel_shapes(convs, torgbs, 512)


def test_layers_are_immutable(table: LayerTable) -> None:
    with pytest.raises(AttributeError):
        table.w_dim = 6  # type: ignore[misc]
    assert replace(table, w_dim=6).hash != table.hash
