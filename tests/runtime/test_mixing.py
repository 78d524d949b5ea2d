"""Composition rules: residuals add exactly, strengths are linear, samples keep to themselves."""

import signal
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tokens import TokenSet, decode_token_set, encode_token_set
from rs_runtime.mixing import Workspace, mix, neutral, scale, split_layers, take
from rs_runtime.reference import refined_layer

TABLE = LayerTable.from_channels({4: 6, 8: 4, 16: 3}, w_dim=5)


def token_set(
    seed: int, ranks=(2, 2, 2, 2, 2), style=True, torgb=True, modulation=True
) -> TokenSet:
    """A random domain; rank 0 leaves a layer unrefined."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    refined = [(layer, rank) for layer, rank in zip(TABLE.convs, ranks, strict=True) if rank]
    styled = (*TABLE.convs, *(TABLE.torgbs if torgb else ())) if style else ()
    return TokenSet(
        kind="domain",
        name=f"set {seed}",
        P={layer.name: draw(rank, layer.out_channels) for layer, rank in refined},
        Q={layer.name: draw(rank, layer.in_channels) for layer, rank in refined},
        style_offset={layer.name: draw(layer.in_channels) for layer in styled},
        modulation={layer.name: draw(layer.in_channels) for layer in TABLE.convs if modulation},
        w_plus=None,
        source="",
        licence="",
        fingerprint="0" * 64,
        table_hash=TABLE.hash,
    )


def residuals(packed, sample: int) -> dict[str, np.ndarray]:
    """dW by layer, [Cout, Cin], in float64."""
    P, Q = packed.P[sample].astype(np.float64), packed.Q[sample].astype(np.float64)
    return {
        name: P[:, TABLE.out_slices[name]].T @ Q[:, TABLE.in_slices[name]]
        for name in TABLE.in_slices
    }


def expected(mixture) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """The formulas as written, set by set, in float64."""
    dW = {layer.name: np.zeros((layer.out_channels, layer.in_channels)) for layer in TABLE.convs}
    offset = {layer.name: np.zeros(layer.in_channels) for layer in TABLE.layers}
    modulation = {layer.name: np.ones(layer.in_channels) for layer in TABLE.convs}
    for tokens, strength in mixture:
        for name, P in tokens.P.items():
            dW[name] += strength * (P.astype(np.float64).T @ tokens.Q[name].astype(np.float64))
        for name, value in tokens.style_offset.items():
            offset[name] += strength * value
        for name, value in tokens.modulation.items():
            modulation[name] += strength * (value.astype(np.float64) - 1)
    order = [*TABLE.convs, *TABLE.torgbs]
    return (
        dW,
        np.concatenate([offset[layer.name] for layer in order]),
        np.concatenate([modulation[layer.name] for layer in TABLE.convs]),
    )


def same_bytes(packed, other) -> bool:
    return all(
        own.shape == its.shape and own.tobytes() == its.tobytes()
        for own, its in zip(packed, other, strict=True)
    )


def each(token_set: TokenSet, change) -> TokenSet:
    """The set with all arrays changed one by one."""
    groups = {
        name: {layer: change(array) for layer, array in getattr(token_set, name).items()}
        for name in ("P", "Q", "style_offset", "modulation")
    }
    return replace(token_set, **groups)


def assert_equals(packed, samples) -> None:
    assert all(part.dtype == np.float32 for part in packed)
    for n, mixture in enumerate(samples):
        dW, offset, modulation = expected(mixture)
        for name, value in residuals(packed, n).items():
            np.testing.assert_allclose(value, dW[name], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(packed.style_offset[n], offset, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(packed.modulation[n], modulation, rtol=1e-5, atol=1e-5)


SETS = [
    token_set(0),
    token_set(1, ranks=(0, 0, 3, 1, 4)),
    token_set(2, ranks=(0, 0, 0, 0, 0)),
    token_set(3, style=False, modulation=False),
    token_set(4, torgb=False),
]
mixtures = st.lists(
    st.tuples(st.sampled_from(SETS), st.floats(-3, 3, allow_nan=False, width=32)), max_size=5
)


@settings(max_examples=60, deadline=None)
@given(st.lists(mixtures, min_size=1, max_size=4))
def test_any_batch_of_mixes_is_the_sum_of_its_residuals(samples):
    assert_equals(mix(samples, TABLE), samples)


@settings(max_examples=40, deadline=None)
@given(mixtures, mixtures, st.floats(-2, 2, allow_nan=False, width=32))
def test_mixing_onto_packed_tokens_is_mixing_their_lists(first, second, strength):
    packed = mix([second], TABLE, onto=scale(mix([first], TABLE), strength))
    assert_equals(packed, [[(tokens, strength * own) for tokens, own in first] + second])


def test_a_mixed_layer_is_the_oracle_s_layer_of_the_summed_residual():
    rng = np.random.default_rng(5)
    mixture = [(SETS[0], 0.7), (SETS[1], -1.5), (SETS[0], 0.2)]
    packed = mix([mixture, []], TABLE)
    dW, offset, modulation = expected(mixture)
    for layer in TABLE.convs:
        x = rng.standard_normal((2, layer.in_channels, 4, 4))
        weight = rng.standard_normal((layer.out_channels, layer.in_channels, 3, 3))
        style = rng.standard_normal((2, layer.in_channels))
        ins, outs = TABLE.in_slices[layer.name], TABLE.out_slices[layer.name]
        mixed = refined_layer(
            x,
            weight,
            style,
            P=packed.P[..., outs].astype(np.float64),
            Q=packed.Q[..., ins].astype(np.float64),
            style_offset=packed.style_offset[:, ins].astype(np.float64),
            modulation=packed.modulation[:, ins].astype(np.float64),
            up=layer.up,
        )
        summed = refined_layer(  # dW itself as the factors dW and 1
            x[:1],
            weight,
            style[:1],
            P=dW[layer.name].T[None],
            Q=np.eye(layer.in_channels)[None],
            style_offset=offset[ins][None],
            modulation=modulation[ins][None],
            up=layer.up,
        )
        plain = refined_layer(x[1:], weight, style[1:], up=layer.up)
        np.testing.assert_allclose(mixed, np.concatenate([summed, plain]), rtol=1e-5, atol=1e-5)


def test_an_empty_mix_is_plain_stylegan2():
    packed = mix([[], []], TABLE)
    for value, plain in zip(packed, neutral(2, TABLE), strict=True):
        np.testing.assert_array_equal(value, plain)
    assert packed.P.shape == (2, 1, TABLE.sum_out)


def test_strength_acts_on_P_alone():
    one, half = mix([[(SETS[0], 1.0)]], TABLE), mix([[(SETS[0], 0.5)]], TABLE)
    np.testing.assert_array_equal(half.P, 0.5 * one.P)
    np.testing.assert_array_equal(half.Q, one.Q)


def test_opposite_strengths_cancel_exactly_and_cost_no_rank():
    packed = mix([[(SETS[0], 0.7), (SETS[0], -0.7)]], TABLE)
    for value, plain in zip(packed, neutral(1, TABLE), strict=True):
        np.testing.assert_array_equal(value, plain)


def test_rank_is_shared_by_repeats_and_dropped_where_unused():
    assert mix([[(SETS[0], 1), (SETS[0], 2)]], TABLE).P.shape[1] == 2
    assert mix([[(SETS[0], 1), (SETS[1], 2)], []], TABLE).P.shape[1] == 6
    image = neutral(1, TABLE, rank=8)
    assert mix([[(SETS[0], 1)]], TABLE, onto=image).P.shape[1] == 2
    assert mix([[]], TABLE, onto=image).P.shape[1] == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(mixtures, min_size=2, max_size=4))
def test_a_piece_of_a_batch_is_the_batch_of_a_piece(samples):
    packed = mix(samples, TABLE)
    for n, sample in enumerate(samples):
        piece = take(packed, slice(n, n + 1))
        assert_equals(piece, [sample])
        assert piece.P.shape[1] <= max(1, sum(tokens.rank for tokens, _ in sample))


def test_each_sample_may_have_its_own_strength():
    packed = scale(mix([[(SETS[0], 1.0)], [(SETS[1], 2.0)]], TABLE), [0.5, -1.0])
    assert_equals(packed, [[(SETS[0], 0.5)], [(SETS[1], -2.0)]])
    with pytest.raises(UsageError, match="its own strength"):
        scale(packed, [1.0, 2.0, 3.0])


def test_a_thousand_domains_cost_their_bytes_alone():
    tracemalloc.start()
    try:
        many = [token_set(seed) for seed in range(1000)]
        grown = tracemalloc.get_traced_memory()[0]
        mix([[(tokens, 0.5)] for tokens in many[:8]], TABLE)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    own = sum(
        a.nbytes for t in many for g in (t.P, t.Q, t.style_offset, t.modulation) for a in g.values()
    )
    assert kept - grown < 0.01 * own, "mixing keeps nothing"


def test_a_sample_does_not_depend_on_its_neighbours():
    alone = residuals(mix([[(SETS[0], 1.0)]], TABLE), 0)
    together = residuals(mix([[(SETS[1], 2.0)], [(SETS[0], 1.0)], []], TABLE), 1)
    for name, value in alone.items():
        np.testing.assert_array_equal(together[name], value)


def test_layers_come_back_as_they_went_in():
    packed = mix([[], [(SETS[1], 1.0)]], TABLE)
    P, Q = split_layers(packed, 1, TABLE)
    assert set(P) == set(Q) == set(SETS[1].P)
    for name in P:
        np.testing.assert_allclose(
            P[name].T @ Q[name], SETS[1].P[name].T @ SETS[1].Q[name], rtol=1e-5, atol=1e-6
        )
    assert split_layers(packed, 0, TABLE) == ({}, {})


@pytest.mark.parametrize("strength", [np.nan, np.inf, -np.inf])
def test_strengths_must_be_finite(strength):
    with pytest.raises(UsageError, match="finite"):
        mix([[(SETS[0], strength)]], TABLE)
    with pytest.raises(UsageError, match="finite"):
        scale(neutral(1, TABLE), strength)


def test_a_set_for_other_layers_is_refused():
    wider = LayerTable.from_channels({4: 8, 8: 4, 16: 3}, w_dim=5)
    smaller = LayerTable.from_channels({4: 6, 8: 4}, w_dim=5)
    for table in (wider, smaller):
        with pytest.raises(IncompatibleError, match="does not fit"):
            mix([[(SETS[0], 1.0)]], table)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(mixtures, min_size=1, max_size=3), min_size=2, max_size=5))
def test_a_workspace_gives_what_mix_gives_whatever_was_in_it(batches):
    workspace = Workspace()
    image = mix([[(SETS[0], 0.3)]], TABLE)
    for samples in batches:
        onto = type(image)(*(np.repeat(part, len(samples), axis=0) for part in image))
        for own in (None, onto):
            with workspace.mix(samples, TABLE, onto=own) as packed:
                assert same_bytes(packed, mix(samples, TABLE, onto=own))
                for part in packed:
                    part[:] = np.nan  # what is left behind must not show in the next one


def test_a_workspace_uses_the_same_memory_again_and_never_that_of_others():
    workspace, image = Workspace(), neutral(1, TABLE, rank=2)
    image.P[:], image.Q[:] = 1, 2
    kept = mix([[(SETS[0], 1.0)]], TABLE, onto=image)
    before = kept.P.copy()
    with workspace.mix([[(SETS[0], 1.0)]], TABLE, onto=image) as first:
        with workspace.mix([[(SETS[3], 1.0)]], TABLE, onto=image) as inner:
            for own, its in zip(first, inner, strict=True):
                assert not np.shares_memory(own, its)
        assert same_bytes(first, kept)
    with workspace.mix([[]], TABLE, onto=image) as second:
        assert np.shares_memory(second.P, first.P) and np.shares_memory(second.Q, first.Q)
        second.P[:], second.Q[:], second.style_offset[:], second.modulation[:] = 3, 3, 3, 3
    np.testing.assert_array_equal(kept.P, before)
    assert (image.P == 1).all() and (image.Q == 2).all()
    assert (image.style_offset == 0).all() and (image.modulation == 1).all()


def test_memory_that_an_interrupted_engine_may_still_read_is_not_used_again():
    workspace = Workspace()
    with pytest.raises(KeyboardInterrupt), workspace.mix([[(SETS[0], 1.0)]], TABLE) as left:
        raise KeyboardInterrupt
    with workspace.mix([[(SETS[0], 1.0)]], TABLE) as packed:
        assert not np.shares_memory(packed.P, left.P) and not np.shares_memory(packed.Q, left.Q)


@pytest.mark.parametrize("large", [0, 1 << 40])
def test_memory_that_was_being_filled_at_ctrl_c_is_not_used_again(large, monkeypatch):
    monkeypatch.setattr("rs_runtime.both.LARGE_BYTES", large)
    workspace, samples = Workspace(), [[(SETS[0], 1.0)]]
    with workspace.mix(samples, TABLE) as left:
        pass

    def interrupted(*_):
        if threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rs_runtime.mixing._write", interrupted)
        with pytest.raises(KeyboardInterrupt), workspace.mix(samples, TABLE):
            pytest.fail("nothing to draw")
    with workspace.mix(samples, TABLE) as packed:
        assert not np.shares_memory(packed.P, left.P) and not np.shares_memory(packed.Q, left.Q)
        assert same_bytes(packed, mix(samples, TABLE))


def test_a_workspace_gives_large_memory_back(monkeypatch):
    monkeypatch.setattr("rs_runtime.mixing.KEPT_BYTES", 4 * 2 * (TABLE.sum_out + TABLE.sum_in))
    workspace = Workspace()
    for samples, is_kept in (([[(SETS[0], 1.0)]], True), ([[(SETS[0], 1.0)]] * 2, False)):
        with workspace.mix(samples, TABLE) as first:
            pass
        with workspace.mix(samples, TABLE) as second:
            assert np.shares_memory(first.P, second.P) == is_kept


def test_threads_do_not_see_each_other_s_mixes():
    workspace, count = Workspace(), 4
    barrier = threading.Barrier(count)

    def work(index: int) -> bool:
        sound = True
        for turn in range(50):
            samples = [[(SETS[(index + n) % len(SETS)], index + turn + 1.0)] for n in range(index)]
            samples.append([(SETS[0], -index - 1.0)])
            with workspace.mix(samples, TABLE) as packed:
                barrier.wait(timeout=60)
                sound &= same_bytes(packed, mix(samples, TABLE))
                barrier.wait(timeout=60)
        return sound

    with ThreadPoolExecutor(count) as pool:
        assert all(pool.map(work, range(count)))


def packed_by(threads: int, *args, **kwargs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rs_runtime.both.LARGE_BYTES", 0 if threads == 2 else 1 << 40)
        return mix(*args, **kwargs)


@settings(max_examples=40, deadline=None)
@given(st.lists(mixtures, min_size=1, max_size=3))
def test_two_threads_pack_what_one_does(samples):
    onto = mix([[(SETS[1], 0.3)]] * len(samples), TABLE)
    for own in (None, onto):
        one, two = (packed_by(threads, samples, TABLE, onto=own) for threads in (1, 2))
        assert same_bytes(one, two)


@pytest.mark.parametrize("group", ["P", "Q"])
@pytest.mark.parametrize("large", [0, 1 << 40])
def test_an_error_in_either_thread_reaches_the_caller(group, large, monkeypatch):
    monkeypatch.setattr("rs_runtime.both.LARGE_BYTES", large)
    workspace, good = Workspace(), SETS[0]
    words = {name: np.full(own.shape, "word") for name, own in getattr(good, group).items()}
    bad = replace(good, **{group: words})
    for _ in range(20):
        with pytest.raises((TypeError, ValueError)), workspace.mix([[(bad, 2.0)]], TABLE):
            pytest.fail("nothing to draw")
        with workspace.mix([[(good, 2.0)]], TABLE) as packed:
            assert same_bytes(packed, mix([[(good, 2.0)]], TABLE))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_caller_says_what_an_overflow_is(threads):
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        packed_by(threads, [[(each(SETS[0], lambda array: array * 1e10), 1e38)]], TABLE)
    with np.errstate(over="ignore"):
        packed_by(threads, [[(each(SETS[0], lambda array: array * 1e10), 1e38)]], TABLE)


@pytest.mark.parametrize("strength", [1.0, -0.7, 70000.0, 1e-40])
@pytest.mark.parametrize("apart", [True, False])
def test_every_half_counts_as_its_float32(strength, apart):
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    rows = -(-len(halves) // min(layer.out_channels for layer in TABLE.convs))
    P, Q = (np.resize(halves, (rows, width)) for width in (TABLE.sum_out, TABLE.sum_in))
    half = replace(
        each(SETS[0], lambda array: array.astype(np.float16)),
        P={name: P[:, own] for name, own in TABLE.out_slices.items()},
        Q={name: Q[:, own] for name, own in TABLE.in_slices.items()},
    )
    if apart:
        half = each(half, np.copy)
    full = each(half, lambda array: array.astype(np.float32))
    assert same_bytes(mix([[(half, strength)]], TABLE), mix([[(full, strength)]], TABLE))


# Where the columns of the layers may lie in one array; only the first two are side by side.
LAYOUTS = {
    "side by side": lambda base, start, stop: base[:, start:stop],
    "every other column": lambda base, start, stop: base[:, 2 * start : 2 * stop : 2],
    "interleaved": lambda base, start, stop: base[:, start : 2 * stop - start : 2],
    "backwards": lambda base, start, stop: base[:, start:stop][:, ::-1],
    "from the end": lambda base, start, stop: base[:, base.shape[1] - stop : base.shape[1] - start],
    "every other row": lambda base, start, stop: base[::2, start:stop],
    "every other row but in one": lambda base, start, stop: (base[::2] if start else base)[
        :20, start:stop
    ],
    "unequal": lambda base, start, stop: base[: 3 if start else 2, start:stop],
    "turned": lambda base, start, stop: base.T[: base.shape[0], :][:, start:stop],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_wherever_the_arrays_of_a_set_lie_its_mix_is_the_same(layout, dtype):
    rng = np.random.default_rng(0)
    sides = {"P": TABLE.out_slices, "Q": TABLE.in_slices}
    groups = {}
    for group, places in sides.items():
        base = rng.standard_normal((60, 60)).astype(dtype)
        groups[group] = {
            name: LAYOUTS[layout](base, own.start, own.stop) for name, own in places.items()
        }
    laid = replace(SETS[0], **groups)
    samples = [[(SETS[1], 2.0), (laid, -0.3)], [(laid, 1.0)]]
    apart = [[(SETS[1], 2.0), (each(laid, np.copy), -0.3)], [(each(laid, np.copy), 1.0)]]
    assert same_bytes(mix(samples, TABLE), mix(apart, TABLE))


@pytest.mark.parametrize("dtype", ["F16", "F32"])
@pytest.mark.parametrize("seed", range(len(SETS)))
def test_a_set_from_a_file_mixes_as_the_one_that_was_written(seed, dtype):
    data = encode_token_set(replace(SETS[seed], dtype=dtype, licence="l", source="s"))
    read = decode_token_set(data, table=TABLE, fingerprint=None)
    kept = each(SETS[seed], lambda array: array.astype({"F16": "f2", "F32": "f4"}[dtype]))
    assert same_bytes(mix([[(read, 0.7)]], TABLE), mix([[(kept, 0.7)]], TABLE))


def test_rows_are_in_use_where_any_channel_of_any_sample_is_not_zero():
    image = neutral(2, TABLE, rank=4)
    image.P[0, 0, 0] = image.Q[0, 0, 3] = 1
    image.P[1, 2, -1] = image.Q[0, 2, -1] = 1
    image.P[0, 3, 2] = 1
    packed = mix([[], []], TABLE, onto=image)
    np.testing.assert_array_equal(packed.P, image.P[:, [0, 2]])
    np.testing.assert_array_equal(packed.Q, image.Q[:, [0, 2]])
