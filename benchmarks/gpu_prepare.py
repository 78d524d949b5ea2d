"""What the synthesis needs before its first pixel, for all layers in few launches.

Layers are stacked, padded to the widest, so that styles are one product, residual kernels one or
two, inverse norms one reduction, and the kernels of equally shaped layers one pass.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu_synthesis import EPS, Inputs, LayerWeights, Network


@dataclass
class Group:
    """Materialised layers of one shape, their kernels stacked in channels-last memory."""

    names: list[str]
    rows: Tensor  # which convolutions
    up: bool
    outputs: int
    inputs: int
    kernels: Tensor  # [G, O, k, k, I], or [G, I, k, k, O] for transposed ones


@dataclass
class Stacks:
    """The constants of a network as `prepare` wants them.

    Attributes:
        names: Of the layers, convolutions first.
        convs: How many of them are convolutions.
        channels: (Cout, Cin) of every layer.
        latent: Which w each reads.
        gather_P: Packed positions of every convolution's outputs, the zero column for padding.
        gather_Q: The same of its inputs.
    """

    names: list[str]
    convs: int
    channels: list[tuple[int, int]]
    latent: Tensor
    affine: Tensor  # [T, w_dim, widest]
    affine_bias: Tensor  # [T, 1, widest]
    gather_P: Tensor
    gather_Q: Tensor
    square_sums: Tensor  # [C, 1, widest, widest]
    sums: Tensor
    rgb: Tensor  # kernels of the toRGB layers, [B, 1, widest, 8]: padded to eight colours
    groups: list[Group]

    @staticmethod
    def of(network: Network, materialise_from: int) -> "Stacks":
        """Stack a network's layers; those of at least this resolution are materialised."""
        table, device = network.table, network.const.device
        layers = (*table.convs, *table.torgbs)
        weights = [network.layers[layer.name] for layer in layers]
        widest = max(max(w.layer.in_channels, w.layer.out_channels) for w in weights)
        convs = weights[: len(table.convs)]
        return Stacks(
            names=[layer.name for layer in layers],
            convs=len(convs),
            channels=[(layer.out_channels, layer.in_channels) for layer in layers],
            latent=torch.tensor([layer.w_index for layer in layers], device=device),
            affine=torch.stack([_pad(w.affine.T, w.affine.shape[1], widest) for w in weights]),
            affine_bias=torch.stack([_pad(w.affine_bias[None], 1, widest) for w in weights]),
            gather_P=_gather([w.out_slice for w in convs], table.sum_out, widest).to(device),
            gather_Q=_gather([w.in_slice for w in convs], table.sum_in, widest).to(device),
            square_sums=torch.stack([_pad(w.square_sums, widest, widest)[None] for w in convs]),
            sums=torch.stack([_pad(w.sums, widest, widest)[None] for w in convs]),
            rgb=torch.stack(
                [_pad(w.kernel[:, :, 0, 0].T, widest, 8)[None] for w in weights[len(convs) :]]
            ),
            groups=_groups(convs, materialise_from),
        )


@dataclass
class Prepared:
    """Results for one batch of inputs, by layer name."""

    styles: dict[str, Tensor]  # [N, I] fp32
    rgb: dict[str, Tensor]  # modulated kernels of the toRGB layers, [N, I, 8]
    dW: dict[str, Tensor]  # [N, O, I]
    d: dict[str, Tensor]  # [N, O] fp32
    kernels: dict[str, Tensor]  # Wd before demodulation, of the materialised layers


def prepare(stacks: Stacks, inputs: Inputs) -> Prepared:
    """Compute styles, residual kernels, inverse norms and the materialised layers' kernels."""
    w = inputs.w_plus[:, stacks.latent].transpose(0, 1)
    styles = torch.baddbmm(stacks.affine_bias, w, stacks.affine)  # [T, N, widest]
    P, Q = _spread(inputs.P, stacks.gather_P), _spread(inputs.Q, stacks.gather_Q)
    batch = P.shape[1]
    dW = torch.bmm(P.flatten(0, 1).transpose(1, 2), Q.flatten(0, 1)).unflatten(0, (-1, batch))
    s, wide = styles[: stacks.convs, :, None, :], dW.float()
    square = s * s * stacks.square_sums + wide * (2 * s * stacks.sums + 9 * wide)
    d = torch.rsqrt(square.sum(dim=3).clamp_min(0) + EPS)  # [C, N, widest]
    rgb = (styles[stacks.convs :, ..., None] * stacks.rgb).to(stacks.rgb.dtype)
    ready = Prepared({}, {}, {}, {}, {})
    for row, (name, (outputs, ins)) in enumerate(zip(stacks.names, stacks.channels, strict=True)):
        ready.styles[name] = styles[row, :, :ins]
        if row < stacks.convs:
            ready.dW[name] = dW[row, :, :outputs, :ins]
            ready.d[name] = d[row, :, :outputs].contiguous()
        else:
            ready.rgb[name] = rgb[row - stacks.convs, :, :ins]
    for group in stacks.groups:
        kernels = _materialise(group, styles, P, Q, dW)
        for row, name in enumerate(group.names):
            ready.kernels[name] = kernels[row].permute(0, 1, 4, 2, 3)
    return ready


def _materialise(group: Group, styles: Tensor, P: Tensor, Q: Tensor, dW: Tensor) -> Tensor:
    scale = styles[group.rows][..., : group.inputs]
    if group.up:
        # The transposed product, rather than a transposed read of dW.
        q = Q[group.rows][..., : group.inputs].flatten(0, 1)
        p = P[group.rows][..., : group.outputs].flatten(0, 1)
        residual = torch.bmm(q.transpose(1, 2), p).unflatten(0, scale.shape[:2])
        wide = group.kernels[:, None] * scale[..., None, None, None]
    else:
        residual = dW[group.rows][..., : group.outputs, : group.inputs]
        wide = group.kernels[:, None] * scale[..., None, None, None, :]
    return (wide + residual[..., None, None, :]).to(group.kernels.dtype)


def _spread(packed: Tensor, gather: Tensor) -> Tensor:
    """Packed tokens [N, L, Σ] as [C, N, L, widest], zeros where a layer is narrower."""
    spread = F.pad(packed, (0, 1))[..., gather]  # [N, L, C, widest]
    return spread.permute(2, 0, 1, 3).contiguous()


def _gather(slices: list[slice], zero: int, widest: int) -> Tensor:
    rows = torch.full((len(slices), widest), zero)
    for row, part in enumerate(slices):
        rows[row, : part.stop - part.start] = torch.arange(part.start, part.stop)
    return rows


def _pad(matrix: Tensor, rows: int, columns: int) -> Tensor:
    return F.pad(matrix, (0, columns - matrix.shape[1], 0, rows - matrix.shape[0]))


def _groups(convs: list[LayerWeights], materialise_from: int) -> list[Group]:
    found: dict[tuple[int, int, bool], list[int]] = {}
    for row, weights in enumerate(convs):
        layer = weights.layer
        if layer.resolution >= materialise_from:
            key = (layer.out_channels, layer.in_channels, layer.up == 2)
            found.setdefault(key, []).append(row)
    groups = []
    for (outputs, inputs, up), rows in found.items():
        kernels = [convs[r].kernel_up if up else convs[r].kernel for r in rows]
        stacked = torch.stack([k.permute(0, 2, 3, 1) for k in kernels])
        names = [convs[r].layer.name for r in rows]
        where = torch.tensor(rows, device=stacked.device)
        groups.append(Group(names, where, up, outputs, inputs, stacked))
    return groups
