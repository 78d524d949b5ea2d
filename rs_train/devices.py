"""Where and how precisely to compute."""

import os
from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


def pick_device() -> torch.device:
    """This process's GPU, the first unless torchrun numbers it, or the CPU if there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.benchmark = True  # shapes hardly change during a training
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)  # streams, recordings and NCCL use the current one
    return device


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager:
    """Mixed precision: bf16 matrix products with fp32 parameters, or plain fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
