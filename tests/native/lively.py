"""Encoders as after a training."""

import torch
from torch import nn

from rs_train.inverters.trunk import SqueezeExcitation


def lively(network: nn.Module) -> nn.Module:
    """Every part changes something: fresh batch norms are alike, and fresh gates all but shut."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data.uniform_(0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                tensor.data.uniform_(-0.2, 0.2)
        if isinstance(module, nn.PReLU):
            module.weight.data.uniform_(0.1, 0.4)
        if isinstance(module, SqueezeExcitation):
            module.expand.weight.data *= 3
    return network.eval()
