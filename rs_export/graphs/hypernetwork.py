"""Role `hypernetwork`: embedding float32 [N, D] of length 1 -> a domain.

Outputs, float32, of what it predicts: P [N, L, sum Cout] and Q [N, L, sum Cin], or modulation
[N, sum Cin], in layer-table order. What it does not predict changes nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_export.graphs.role import TracedRole, batch_only
from rs_train.domains.hypernetwork import HyperDomainNet

_OUTPUTS = {"modulation": ("modulation",), "tokens": ("P", "Q")}


class _Hypernetwork(nn.Module):
    def __init__(self, network: HyperDomainNet, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.outputs = outputs

    def forward(self, embedding: Tensor) -> tuple[Tensor, ...]:
        tokens = self.network(embedding)
        return tuple(getattr(tokens, name) for name in self.outputs)


def hypernetwork_role(network: HyperDomainNet) -> TracedRole:
    """A hypernetwork of either head."""
    outputs = _OUTPUTS[network.config.predicts]
    example = {"embedding": F.normalize(torch.randn(2, network.config.embed_dim), dim=1)}
    module = _Hypernetwork(network, outputs)
    return TracedRole("hypernetwork", module, example, batch_only(example), outputs)
