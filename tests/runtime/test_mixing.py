"""Composition rules: residuals add exactly, strengths are linear, samples keep to themselves."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tokens import TokenSet
from rs_runtime.mixing import mix, neutral, scale, split_layers, take
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
