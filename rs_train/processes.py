"""Several processes that train one model, as `torchrun` starts them.

Each takes its share of every batch. Gradients are averaged before each update and the copies begin
equal, so they stay equal; process 0 alone writes files. Without torchrun there is one process and
every function here does nothing.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rs_runtime.contracts.errors import UsageError


def rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined() -> Iterator[None]:
    """Be connected with the other processes: NCCL between GPUs, else gloo."""
    if count() == 1:
        yield
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def share(batch_size: int) -> int:
    """This process's part of a batch.

    Raises:
        UsageError: The batch cannot be divided evenly.
    """
    if batch_size % count():
        raise UsageError(
            "the batch cannot be shared evenly",
            found=f"{batch_size} items, {count()} processes",
            expected="a loop.batch_size that the number of processes divides",
        )
    return batch_size // count()


@torch.no_grad()
def copy_from_first(modules: Iterable[nn.Module]) -> None:
    """Give every process the parameters and buffers of process 0."""
    if count() > 1:
        for module in modules:
            for tensor in module.state_dict().values():
                value = tensor.contiguous()
                dist.broadcast(value, 0)
                tensor.copy_(value)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over the processes."""
    if count() > 1:
        _average([p.grad for p in parameters if p.grad is not None])


@torch.no_grad()
def average_buffers(modules: Iterable[nn.Module]) -> None:
    """Replace what each process measured on its share, such as batch statistics, by the mean."""
    if count() > 1:
        buffers = [buffer for module in modules for buffer in module.buffers()]
        _average([buffer for buffer in buffers if buffer.is_floating_point()])


def average_figures(figures: dict[str, float]) -> dict[str, float]:
    """Mean of each figure; one that is not a number anywhere is so everywhere."""
    if count() == 1:
        return figures
    values = torch.tensor(list(figures.values()), dtype=torch.float64, device=_device())
    dist.all_reduce(values)
    return dict(zip(figures, (values / count()).tolist(), strict=True))


def largest(number: int) -> int:
    """The largest of the processes' numbers."""
    if count() == 1:
        return number
    value = torch.tensor(number, device=_device())
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return int(value)


def gathered(value: object) -> list[object]:
    """Every process's value, in the order of the processes."""
    if count() == 1:
        return [value]
    values: list[object] = [None] * count()
    dist.all_gather_object(values, value)
    return values


def _average(tensors: list[Tensor]) -> None:
    if not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= count()
    for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def _device() -> torch.device:
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
