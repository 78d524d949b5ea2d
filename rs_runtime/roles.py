"""Runs the roles of a bundle: picks a graph for each, opens it once, cuts large batches."""

from __future__ import annotations

import threading
from collections.abc import Collection
from functools import partial
from typing import Any

import numpy as np

from rs_runtime.contracts.bundle import Bundle
from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.contracts.roles import Role, Variant
from rs_runtime.engines.base import Engine, EngineOptions, Value, as_array
from rs_runtime.engines.select import Chosen, EngineSelection, companions, providers

MAX_BATCH = 8  # pictures in one run, so that memory does not grow with the length of a list
_EXACT = ("fp32", "fp16_stored")  # stored in whatever way, computed in fp32
_CPU_PROVIDERS = ("native", "cpu", "openvino", "openvino-bf16")
_CPU_FORM = "cpu"
# Roles that a GPU would not make faster: TensorRT has no engines for them, and they run on the CPU.
HOST_ROLES = ("preprocess", "mapping", "text", "vision", "hypernetwork")
# The role that our own engine runs wholly. Of encoders it runs the trunk, where a bundle has such a
# variant, and it leaves the rest to a companion.
NATIVE_ROLE = "synthesis"
_BATCH_SIDE = "N"


class RoleRunner:
    """The graphs of one bundle, each opened when it is first needed.

    Attributes:
        bundle: Where the graphs are.
        selection: The provider they run on.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        """Checks the provider; opens no graph yet.

        Raises:
            UsageError: Unknown provider.
            ResourceError: The named provider is absent.
        """
        self.bundle = bundle
        self.selection = EngineSelection(options, self._serves)
        self._opened: dict[str, tuple[Engine, Variant]] = {}
        self._lock = threading.Lock()

    def has(self, name: str) -> bool:
        """Whether the bundle has the role."""
        return name in self.bundle.manifest.roles

    def input_shapes(self, name: str) -> dict[str, tuple[int | str, ...]]:
        """Shapes of a role's inputs by name, as in the manifest.

        Raises:
            IncompatibleError: The bundle lacks the role.
        """
        return {spec.name: spec.shape for spec in self._role(name).inputs}

    def largest_batch(self, name: str) -> int:
        """How many samples the role's graph takes in one run; opens it.

        Raises:
            IncompatibleError: The bundle lacks the role or a graph for the provider.
            ResourceError: The provider does not start.
        """
        _, variant = self._open(name, self._role(name))
        return MAX_BATCH if variant.batch == "dynamic" else int(variant.batch)

    def run(self, name: str, *, keep: Collection[str] = (), **inputs: Value) -> dict[str, Any]:
        """Runs one role.

        Args:
            name: The role.
            keep: Outputs that only another role reads: those may stay on the device (see
                ``Engine.run``), unless the batch is run in pieces.
            inputs: By name. Those whose manifest shape begins with "N" share one batch size; a
                batch larger than the graph or ``MAX_BATCH`` takes is run in pieces.

        Returns:
            Outputs by name.

        Raises:
            IncompatibleError: The bundle lacks the role or a graph for the provider.
            ResourceError: The provider does not start, or memory runs out.
        """
        role = self._role(name)
        engine, _ = self._open(name, role)
        batched = [spec.name for spec in role.inputs if spec.shape[:1] == (_BATCH_SIDE,)]
        count = len(inputs[batched[0]]) if batched and batched[0] in inputs else 1
        step = self.largest_batch(name)
        if count <= step:
            return self.selection.timed(lambda: engine.run(inputs, keep))
        inputs = {key: as_array(value) for key, value in inputs.items()}
        pieces = []
        for start in range(0, count, step):
            rows = slice(start, start + step)
            piece = {key: value[rows] if key in batched else value for key, value in inputs.items()}
            pieces.append(self.selection.timed(partial(engine.run, piece)))
        return {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}

    def _role(self, name: str) -> Role:
        roles = self.bundle.manifest.roles
        if name not in roles:
            raise IncompatibleError(
                f"the bundle has no {name} graph, which this needs",
                found=", ".join(roles),
                hint="export it again with rs-export, or use another bundle",
            )
        return roles[name]

    def _open(self, name: str, role: Role) -> tuple[Engine, Variant]:
        with self._lock:
            if name not in self._opened:
                self._opened[name] = self.selection.open(
                    name, lambda provider: self._choose(name, role, provider)
                )
            return self._opened[name]

    def _choose(self, name: str, role: Role, provider: str) -> Chosen:
        variant = choose_variant(name, role, provider)
        graph, shapes = self.bundle.read(variant.file), input_shapes(role, variant)
        return Chosen(variant, graph, shapes, self.bundle.root)

    def _serves(self, provider: str) -> bool:
        roles = self.bundle.manifest.roles
        return all(_suitable(name, role, provider) for name, role in roles.items())


def input_shapes(role: Role, variant: Variant) -> dict[str, list[int | str]]:
    """Shapes that a variant takes, by input; a side that is known only at run time is a string."""
    batch = _BATCH_SIDE if variant.batch == "dynamic" else variant.batch
    return {
        spec.name: [batch if side == _BATCH_SIDE else side for side in spec.shape]
        for spec in role.inputs
    }


def choose_variant(name: str, role: Role, provider: str) -> Variant:
    """The first variant, in the manifest's order of preference, that suits the provider.

    Args:
        name: The role's name.
        role: The role.
        provider: A key of ``providers()``.

    Raises:
        IncompatibleError: There is none.
    """
    suitable = _suitable(name, role, provider)
    if suitable:
        return suitable[0]
    found = ", ".join(f"{variant.engine} {variant.precision}" for variant in role.variants)
    raise IncompatibleError(
        f"the bundle's {name} graph is not for provider {provider!r}",
        found=found,
        expected=f"{providers()[provider]}, {' or '.join(_EXACT)}",
        hint="export it again: rs-export --model two_stage, or use --provider auto",
    )


def _suitable(name: str, role: Role, provider: str) -> list[Variant]:
    """Variants of the provider's engine; computing in fp16 is for GPUs, the CPU form is not."""
    if provider == "tensorrt" and name in HOST_ROLES:
        provider = "cpu"
    engines: tuple[str, ...] = (providers()[provider],)
    if provider == "native" and name != NATIVE_ROLE:
        engines = ("native", *companions())
    own = [variant for engine in engines for variant in role.variants if variant.engine == engine]
    if provider not in _CPU_PROVIDERS:
        return [variant for variant in own if variant.form != _CPU_FORM]
    exact = [variant for variant in own if variant.precision in _EXACT]
    if provider == "openvino-bf16":
        return [variant for variant in own if variant.precision == "bf16"] + exact
    return exact
