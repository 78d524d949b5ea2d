"""Training steps replayed as CUDA graphs.

A step of a small network is some thousand short kernels, which a GPU runs several times faster than
Python can launch them. Recorded once, the whole step is one launch.
"""

from collections import Counter
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from rs_train import processes

Step = Callable[..., dict[str, Tensor]]

# Steps run as usual first: they let cuDNN choose its algorithms and the optimiser make its state.
_WARM_UP = 3


class CapturedStep:
    """Calls a step; on a GPU, from the fourth call on, by replaying a recording of it.

    The step is a function of its tensors alone: whatever else changes between calls lies in memory
    that it reads, or is one of the `variant` values, each of which gets a recording of its own. It
    must not wait for the device.

    Args:
        step: Takes the variant's values, then tensors by name, and returns tensors.
        device: Where it computes; off a GPU nothing is recorded.
        enabled: False for steps that cannot be recorded.
    """

    def __init__(self, step: Step, device: torch.device, *, enabled: bool = True) -> None:
        self._step = step
        # Processes exchange gradients within a step, which a recording is not trusted with.
        self._is_captured = enabled and device.type == "cuda" and processes.count() == 1
        self._calls: Counter[Hashable] = Counter()
        self._recordings: dict[Hashable, _Recording] = {}

    def __call__(self, *variant: Hashable, **inputs: Tensor) -> dict[str, Tensor]:
        """Do one step; read the returned tensors before the next call."""
        if not self._is_captured:
            return self._step(*variant, **inputs)
        self._calls[variant] += 1
        if self._calls[variant] <= _WARM_UP:
            return _beside(lambda: self._step(*variant, **inputs))
        if variant not in self._recordings:
            self._recordings[variant] = _Recording(self._step, variant, inputs)
        return self._recordings[variant].replay(inputs)


class _Recording:
    def __init__(self, step: Step, variant: Hashable, inputs: dict[str, Tensor]) -> None:
        self._inputs = {name: value.clone() for name, value in inputs.items()}
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            outputs = step(*variant, **self._inputs)
        self._outputs = {name: value.detach() for name, value in outputs.items()}

    def replay(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        for name, value in inputs.items():
            self._inputs[name].copy_(value)
        self._graph.replay()
        return self._outputs


def _beside(function: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Call a function on a stream of its own: capture wants its warm-up off the default one."""
    current, side = torch.cuda.current_stream(), torch.cuda.Stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        result = function()
    current.wait_stream(side)
    return result


def numbers(figures: dict[str, Tensor]) -> dict[str, float]:
    """Read scalars off the device, waiting for it once."""
    values = torch.stack([value.detach().float() for value in figures.values()]).tolist()
    return dict(zip(figures, values, strict=True))
