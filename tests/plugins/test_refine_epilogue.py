"""The plugin's kernel, built for the host, judged by the NumPy oracle of the whole layer."""

import ctypes

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.refined_conv.library import DTYPES, GEOMETRIES, LAYOUTS
from tests.plugins.layer_case import LayerCase, operands, run

TOLERANCES = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


@st.composite
def layer_cases(draw: st.DrawFn) -> LayerCase:
    batch = draw(st.integers(1, 8))
    rank = draw(st.sampled_from([0, 1, 2, 7, 8, 24, 32, 33, 64]))
    return LayerCase(
        geometry=draw(st.sampled_from(list(GEOMETRIES))),
        dtype=draw(st.sampled_from(list(DTYPES))),
        layout=draw(st.sampled_from(list(LAYOUTS))),
        dense=draw(st.booleans()),
        batch=batch,
        inputs=draw(st.integers(8, 16)),
        # Multiples of 4 and 8 take the vector paths, 33 and more a second tile of channels.
        outputs=draw(st.sampled_from([1, 3, 4, 5, 8, 16, 20, 33, 40, 72])),
        height=draw(st.integers(1, 11)),
        width=draw(st.integers(1, 19)),
        ranks=tuple(draw(st.integers(0, rank)) for _ in range(batch)),
        noise=draw(st.integers(0, 2)),
        bias=draw(st.booleans()),
        demodulate=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


def check(lib: ctypes.CDLL, case: LayerCase) -> None:
    parts = operands(case)
    error = np.linalg.norm(run(lib, case, parts) - parts.expected)
    # Layers are drawn to have results of unit variance; by it a lone pixel near 0 is judged.
    scale = max(np.linalg.norm(parts.expected), np.sqrt(parts.expected.size))
    assert error <= TOLERANCES[case.dtype] * scale


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=layer_cases())
def test_any_layer_agrees_with_the_oracle(host_library: ctypes.CDLL, case: LayerCase) -> None:
    check(host_library, case)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_rank_288_agrees_with_the_oracle(
    host_library: ctypes.CDLL, geometry: str, layout: str, dtype: str
) -> None:
    check(
        host_library,
        LayerCase(geometry, dtype, layout, batch=2, inputs=8, outputs=72, ranks=(288, 0)),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"base": None},
        {"out": None},
        {"batch": 0},
        {"channels": -1},
        {"rank": 0},  # though P is given
        {"P": None, "rank": 2},
        {"residual": None},  # though P is given
        {"noise_batch": 3},
        {"geometry": 3},
        {"layout": 2},
        {"dtype": 3},
        {"height": 1 << 16},
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused(
    host_library: ctypes.CDLL, changes: dict[str, int | None]
) -> None:
    case = LayerCase()
    with pytest.raises(RuntimeError, match="invalid argument"):
        run(host_library, case, operands(case), **changes)


def test_odd_sizes_cannot_be_doubled(host_library: ctypes.CDLL) -> None:
    case = LayerCase("up")
    with pytest.raises(RuntimeError, match="invalid argument"):
        run(host_library, case, operands(case), height=9)
