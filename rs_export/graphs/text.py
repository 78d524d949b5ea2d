"""Role `text`: tokens int64 [N, T] -> embedding float32 [N, D], of length 1.

T is the CLIP's context length. Shorter prompts are padded by the host.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from rs_export.graphs.role import TracedRole, batch_only
from rs_train.perceptual.clip import ClipGuide

# Traced and compared with: words, digits, signs, other scripts, nothing, and more than fits.
PROMPTS = (
    "a charcoal drawing of a face",
    "an oil painting, 1890s; warm light",
    "木炭で描いた顔 \U0001f600",
    "",
    "a face " * 500,
)


class _Text(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        return F.normalize(self.network.encode_text(tokens).float(), dim=1)


def text_role(clip: ClipGuide) -> TracedRole:
    """The text tower of a CLIP."""
    example = {"tokens": clip.tokenizer(list(PROMPTS))}
    return TracedRole("text", _Text(clip.network), example, batch_only(example), ("embedding",))
