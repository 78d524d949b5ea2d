"""Proof by value that the graphs compute what PyTorch and the NumPy oracle compute.

A graph is run by the very engines that the runtime uses, on fixed inputs, and compared output by
output with its role's reference. The synthesis is compared layer by layer as well, three ways:
graph, PyTorch, and the oracle of `rs_runtime.reference` in float64 in place of every refined
convolution.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx
import torch
from polygraphy.backend.onnx import modify_outputs
from torch import Tensor

from rs_export.compare import FP32, Tolerance, require
from rs_export.flow import invert
from rs_export.graphs.role import Arrays, RoleGraph, TracedRole
from rs_export.intermediate import Convolve, convolving_by
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from rs_runtime.engines.select import Chosen, open_engine
from rs_runtime.reference import refined_layer
from rs_train.generator.refined_conv import Form
from rs_train.generator.synthesis import SynthesisLayer
from rs_train.generator.tokens import LayerTokens

Numbers = dict[str, dict[str, float | None]]
# Runs a role's graph on a batch of any size.
RunGraph = Callable[[Mapping[str, np.ndarray]], Arrays]
_plain_convolve = SynthesisLayer.convolve


def run_graph(role: str, graph: bytes, inputs: Mapping[str, np.ndarray]) -> Arrays:
    """Run a graph once with ONNX Runtime on the CPU."""
    return OnnxRuntimeEngine(role, graph, "cpu", threads=1).run(inputs)


def opened(role: str, chosen: Chosen) -> RunGraph:
    """Open a variant as the runtime does; a batch that it cannot take is run sample by sample."""
    provider = "cpu" if chosen.variant.engine == "onnxruntime" else chosen.variant.engine
    engine = open_engine(provider, role, chosen, threads=1)
    fixed = [name for name, shape in chosen.shapes.items() if list(shape[:1]) == [1]]

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        if not fixed:
            return engine.run(inputs)
        pieces = [
            engine.run({k: v[n : n + 1] if k in fixed else v for k, v in inputs.items()})
            for n in range(len(inputs[fixed[0]]))
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    return run


class Case(NamedTuple):
    """An input of a role and what PyTorch makes of it, which is computed once for all variants."""

    inputs: Arrays
    expected: Arrays


def cases_of(role: RoleGraph, inputs: Sequence[Arrays]) -> list[Case]:
    """Cases of these inputs."""
    return [Case(given, role.reference(given)) for given in inputs]


def check_role(
    role: RoleGraph, run: RunGraph, cases: Sequence[Case], tolerance: Tolerance
) -> Numbers:
    """Compare every output of a graph with its reference.

    Args:
        role: Names the outputs.
        run: Runs the file under test.
        cases: What to compare on.
        tolerance: What may differ.

    Returns:
        The worst difference over the cases, by output.

    Raises:
        NumericsError: A difference beyond the tolerance.
    """
    return _worst_of(run, cases, role.outputs, tolerance, f"{role.name}.")


@dataclass(frozen=True)
class LayerValues:
    """Every refined layer's result, and the outputs, for one input of a synthesis or its part.

    Attributes:
        inputs: The input.
        pytorch: Computed by PyTorch in fp32.
        oracle: Computed with the oracle in place of every refined convolution.
    """

    inputs: Mapping[str, np.ndarray]
    pytorch: Arrays
    oracle: Arrays


def layer_values(role: TracedRole, inputs: Mapping[str, np.ndarray]) -> LayerValues:
    """Compute what the layers of a synthesis must give."""
    with _layers(_plain_convolve) as pytorch:
        outputs = role.reference(inputs)
    with _layers(_oracle_convolve) as oracle:
        oracle_outputs = role.reference(inputs)
    return LayerValues(inputs, pytorch | _floats(outputs), oracle | _floats(oracle_outputs))


def _floats(outputs: Arrays) -> Arrays:
    """Outputs without pictures of bytes, which say less."""
    return {name: value for name, value in outputs.items() if value.dtype != np.uint8}


def check_layers(graph: bytes, values: LayerValues, tolerance: Tolerance) -> dict[str, Numbers]:
    """Compare every refined layer of a synthesis or its part, and its outputs, three ways.

    Args:
        graph: The file under test; its layers' results are named as in the layer table.
        values: What they must give.
        tolerance: What may differ between the graph and the others; PyTorch and the oracle have to
            agree to fp32 whatever the graph is stored in.

    Returns:
        {"graph_pytorch": …, "graph_oracle": …, "pytorch_oracle": …}, each by layer and output.

    Raises:
        NumericsError: A difference beyond the tolerance.
    """
    pytorch, oracle = values.pytorch, values.oracle
    observed = modify_outputs(onnx.load_from_string(graph), outputs=list(pytorch))
    found = run_graph(observed.graph.name, observed.SerializeToString(), values.inputs)
    pairs = {
        "graph_pytorch": (found, pytorch, tolerance),
        "graph_oracle": (found, oracle, tolerance),
        "pytorch_oracle": (pytorch, oracle, FP32),
    }
    return {
        pair: {
            name: require(left[name], right[name], limit, f"{pair} {name}").rounded()
            for name in pytorch
        }
        for pair, (left, right, limit) in pairs.items()
    }


def check_flow(
    roles: Mapping[str, RoleGraph],
    runs: Mapping[str, RunGraph],
    table: LayerTable,
    image: np.ndarray,
    domain: Arrays,
    tolerance: Tolerance,
) -> Numbers:
    """Compare a whole inversion, graph after graph, with the same in PyTorch.

    Args:
        roles: The roles by name.
        runs: Run their files.
        table: The generator's layers.
        image: uint8 [N, S, S, 3], preprocessed.
        domain: Tokens of N samples, see `flow.invert`.
        tolerance: What may differ in the end.

    Returns:
        The difference by output of the last synthesis.

    Raises:
        NumericsError: A difference beyond the tolerance.
    """
    found = invert(lambda name, inputs: runs[name](inputs), roles, table, image, domain)
    expected = invert(
        lambda name, inputs: roles[name].reference(inputs), roles, table, image, domain
    )
    return {
        name: require(found[name], expected[name], tolerance, f"inversion {name}").rounded()
        for name in expected
    }


def check_parts(
    runs: Mapping[str, RunGraph], cases: Sequence[Case], tolerance: Tolerance
) -> Numbers:
    """Compare the two parts of a synthesis, one after the other, with the whole in PyTorch.

    Args:
        runs: Run the files of roles "synthesis_lower" and "synthesis_upper".
        cases: Cases of role "synthesis".
        tolerance: What may differ.

    Returns:
        The worst difference over the cases, by output.

    Raises:
        NumericsError: A difference beyond the tolerance.
    """

    def both(inputs: Arrays) -> Arrays:
        return runs["synthesis_upper"](inputs | runs["synthesis_lower"](inputs))

    return _worst_of(both, cases, cases[0].expected, tolerance, "both parts' ")


def _oracle_convolve(
    layer: SynthesisLayer, x: Tensor, style: Tensor, tokens: LayerTokens, form: Form
) -> Tensor:
    """Let the oracle compute a layer in float64."""
    arrays = {name: value.double().numpy() for name, value in tokens._asdict().items()}
    weight = (layer.weight * layer.weight_gain).double().numpy()
    y = refined_layer(
        x.double().numpy(),
        weight,
        style.double().numpy(),
        **arrays,
        up=layer.layer.up,
        activate=False,
    )
    return torch.from_numpy(y).float()


@contextmanager
def _layers(convolve: Convolve) -> Iterator[Arrays]:
    """Compute refined convolutions by `convolve` and keep each result by layer name."""
    results: Arrays = {}

    def recorded(
        layer: SynthesisLayer, x: Tensor, style: Tensor, tokens: LayerTokens, form: Form
    ) -> Tensor:
        y = convolve(layer, x, style, tokens, form)
        results[layer.layer.name] = y.numpy()
        return y

    with convolving_by(recorded):
        yield results


def _worst_of(
    run: RunGraph,
    cases: Sequence[Case],
    names: Iterable[str],
    tolerance: Tolerance,
    prefix: str,
) -> Numbers:
    """Compare the named outputs in every case; `prefix` goes before their names in messages."""
    worst: Numbers = {}
    for inputs, expected in cases:
        found = run(inputs)
        for name in names:
            measured = require(found[name], expected[name], tolerance, f"{prefix}{name}")
            _keep_worst(worst, name, measured.rounded())
    return worst


def _keep_worst(worst: Numbers, name: str, measured: dict[str, float | None]) -> None:
    before = worst.setdefault(name, measured)
    ratios = [n["psnr_db"] for n in (before, measured) if n["psnr_db"] is not None]
    worst[name] = {
        "max_abs": max(before["max_abs"], measured["max_abs"]),
        "psnr_db": min(ratios, default=None),
    }
