"""How large the values of a synthesis become, and which layers fp16 therefore cannot hold.

Measured in fp32 on the very graph that is to be computed in fp16, over what it will be asked for:
random heads without truncation, half of them mixed of two latents, and inverted pictures with
their own tokens, every other one with a domain at some strength.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rs_export.flow import inverter_of, split_inputs
from rs_export.graphs.role import Arrays, RoleGraph
from rs_export.half import values_in_half
from rs_export.portable import IR_VERSION
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.tokens import TokenSet
from rs_runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from rs_runtime.mixing import PackedTokens, mix, neutral
from rs_train.generator import Generator

SAMPLES = 256
LIMIT = float(np.finfo(np.float16).max) / 4
_INVERTED = 32
_STRENGTHS = (1.0, 0.5, 1.5, -0.5)
_SEED = 65504
_BATCH = 8


@dataclass(frozen=True)
class Ranges:
    """What was measured.

    Attributes:
        samples: Number of latents.
        largest: Largest magnitude of any value by layer.
    """

    samples: int
    largest: dict[str, float]

    @property
    def beyond(self) -> tuple[str, ...]:
        """Layers that have to stay in fp32: a value passes `LIMIT`, or is not finite."""
        return tuple(layer for layer, size in self.largest.items() if not size <= LIMIT)

    def to_json(self) -> dict[str, object]:
        """As stored in a manifest."""
        return {
            "samples": self.samples,
            "limit": LIMIT,
            "fp32_layers": list(self.beyond),
            "largest": {layer: float(f"{size:.4g}") for layer, size in self.largest.items()},
        }


def measure(model: onnx.ModelProto, nodes: Mapping[str, str], cases: Iterable[Arrays]) -> Ranges:
    """Run a synthesis and keep the largest magnitude that each layer would hold in fp16.

    Args:
        model: The graph in fp32.
        nodes: Layer by name of the nodes that are to compute in fp16.
        cases: Inputs, one sample each.
    """
    held = values_in_half(model, nodes)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    run = OnnxRuntimeEngine("ranges", _observed(model, held, constants), "cpu").run
    largest = {
        layer: max((float(np.abs(constants[n]).max()) for n in names & {*constants}), default=0.0)
        for layer, names in held.items()
    }
    samples = 0
    for inputs in cases:
        found = run(inputs)
        for layer in largest:
            # max() of Python would lose NaN.
            largest[layer] = float(np.maximum(largest[layer], found[f"{layer}/largest"]))
        samples += 1
    return Ranges(samples, largest)


def range_cases(
    name: str, roles: Mapping[str, RoleGraph], generator: Generator, domains: Sequence[TokenSet]
) -> Iterator[Arrays]:
    """Yield `SAMPLES` inputs of the synthesis or of a part of it, one sample each.

    Args:
        name: The role: "synthesis", "synthesis_lower" or "synthesis_upper".
        roles: The roles of the model.
        generator: Gives the sizes.
        domains: The domains of the model.

    Yields:
        Inputs by name, the same ones every time.
    """
    table = generator.table
    for inputs, feature in _whole_cases(roles, generator, domains):
        if name != "synthesis_upper":
            yield inputs
            continue
        if feature is None:
            plain = _inputs(inputs["w_plus"], neutral(1, table))
            feature = roles["synthesis_lower"].reference(plain)["feature"]
        run = partial(_reference, roles)
        yield split_inputs(run, table, inputs, feature)[name]


def _reference(roles: Mapping[str, RoleGraph], name: str, inputs: Arrays) -> Arrays:
    return roles[name].reference(inputs)


def _whole_cases(
    roles: Mapping[str, RoleGraph], generator: Generator, domains: Sequence[TokenSet]
) -> Iterator[tuple[Arrays, np.ndarray | None]]:
    """Inputs of the whole synthesis, and the feature map of an inverted picture that has one."""
    rng = np.random.default_rng(_SEED)
    table = generator.table
    inverter = inverter_of(roles)
    inverted = 0 if inverter is None else _INVERTED
    for n in range(SAMPLES - inverted):
        w_plus = _heads(roles, generator, rng, count=1, mixed=n % 2 == 1)
        yield _inputs(w_plus, _with_domain(None, n, domains, table)), None
    for start in range(0, inverted, _BATCH):
        heads = _heads(roles, generator, rng, count=min(_BATCH, inverted - start), mixed=False)
        w_plus, own, feature = _invert(roles, table, inverter, heads)
        for n in range(len(heads)):
            tokens = PackedTokens(*(value[n : n + 1] for value in own))
            inputs = _inputs(w_plus[n : n + 1], _with_domain(tokens, n, domains, table))
            yield inputs, None if feature is None else feature[n : n + 1]


def _heads(
    roles: Mapping[str, RoleGraph],
    generator: Generator,
    rng: np.random.Generator,
    *,
    count: int,
    mixed: bool,
) -> np.ndarray:
    """w_plus [count, num_ws, w_dim] of random latents, truncation 1; mixed: of two each."""
    z = rng.standard_normal((2 * count, generator.config.z_dim), np.float32)
    w = roles["mapping"].reference({"z": z, "truncation_psi": np.array(1, np.float32)})["w"]
    w_plus = np.repeat(w[:count, None], generator.num_ws, axis=1)
    if mixed:
        w_plus[:, rng.integers(1, generator.num_ws) :] = w[count:, None]
    return w_plus


def _invert(
    roles: Mapping[str, RoleGraph], table: LayerTable, inverter: str, w_plus: np.ndarray
) -> tuple[np.ndarray, PackedTokens, np.ndarray | None]:
    """Draw heads and invert the pictures, as the runtime would."""
    plain = neutral(len(w_plus), table)
    drawn = roles["synthesis"].reference(_inputs(w_plus, plain))["image"]
    pictures = [roles["preprocess"].reference({"photo": head})["image"] for head in drawn]
    image = np.concatenate(pictures)
    found = roles[inverter].reference({"image": image})
    if "refiner" in roles:
        first = roles["synthesis"].reference(_inputs(found["w_plus"], plain))["image_float"]
        found |= roles["refiner"].reference({"image": image, "first_inversion": first})
    tokens = plain if "P" not in found else plain._replace(P=found["P"], Q=found["Q"])
    return found["w_plus"], tokens, found.get("feature")


def _with_domain(
    own: PackedTokens | None, n: int, domains: Sequence[TokenSet], table: LayerTable
) -> PackedTokens:
    """Add to every other sample the next domain, at the next strength."""
    turn = n // 2
    chosen = []
    if domains and n % 2 == 0:
        strength = _STRENGTHS[turn // len(domains) % len(_STRENGTHS)]
        chosen = [(domains[turn % len(domains)], strength)]
    return mix([chosen], table, onto=own)


def _inputs(w_plus: np.ndarray, tokens: PackedTokens) -> Arrays:
    return {"w_plus": w_plus, **tokens._asdict()}


def _observed(
    model: onnx.ModelProto, held: Mapping[str, set[str]], constants: Mapping[str, np.ndarray]
) -> bytes:
    """The model with one output a layer: the largest magnitude of the values it would hold."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    result.ir_version = IR_VERSION
    del graph.output[:], graph.value_info[:]
    for layer, names in held.items():
        ends = []
        for name in sorted(names - {*constants}):
            # Both ends instead of a copy of the map's magnitudes.
            for reduce in ("ReduceMax", "ReduceMin"):
                ends.append(f"{layer}/{reduce}/{name}")
                graph.node.append(helper.make_node(reduce, [name], [ends[-1]], keepdims=0))
        sizes = [f"{end}/size" for end in ends]
        graph.node.extend(
            helper.make_node("Abs", [end], [size]) for end, size in zip(ends, sizes, strict=True)
        )
        output = f"{layer}/largest"
        graph.node.append(helper.make_node("Max", sizes, [output]))
        graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, []))
    return result.SerializeToString()
