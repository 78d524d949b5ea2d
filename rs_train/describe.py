"""Parameters and multiply-adds of what a preset configures, part by part, without any weights.

Everything is built and run once with tensors that have shapes and no values. One multiply-add
counts once: PyTorch's counter, which counts two operations, is halved. Convolutions and matrix
products count, those inside attention included, element-wise work does not. Costs are those of one
picture.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from rs_train.generator import Generator, GeneratorConfig
from rs_train.generator.mapping import Mapping as MappingNetwork
from rs_train.generator.synthesis import module_name
from rs_train.inverters.build import Network, build
from rs_train.inverters.feature_shift import FeatureShift
from rs_train.inverters.hfgi import HFGI
from rs_train.inverters.hyperstyle import HyperStyle
from rs_train.inverters.one_stage import OneStage
from rs_train.inverters.refine import Refiner
from rs_train.inverters.restyle import ReStyle
from rs_train.inverters.style_head import level_of
from rs_train.tasks.domain import DomainTraining, new_change
from rs_train.tasks.hypernetwork import new_network
from rs_train.tasks.hypernetwork_config import HypernetworkSize


@dataclass(frozen=True)
class Part:
    """A part of a model.

    Attributes:
        name: What it is.
        parameters: Trained numbers.
        macs: Multiply-adds for one picture; None for what is not a computation on a picture.
    """

    name: str
    parameters: int
    macs: int | None


@dataclass(frozen=True)
class Description:
    """A model by its parts.

    Attributes:
        model: Its kind.
        reads: Height and width of what its encoder reads; None without an encoder.
        resolution: Side of the generator's pictures.
        num_ws: Rows of w_plus.
        parts: The parts, which add up to the model.
        beside: What works along with it and is not counted in it.
    """

    model: str
    reads: tuple[int, int] | None
    resolution: int
    num_ws: int
    parts: tuple[Part, ...]
    beside: tuple[Part, ...]

    @property
    def parameters(self) -> int:
        """Of the model."""
        return sum(part.parameters for part in self.parts)

    @property
    def macs(self) -> int | None:
        """Of the model; None when no part computes."""
        counted = [part.macs for part in self.parts if part.macs is not None]
        return sum(counted) if counted else None


# Names of modules and parameters by part.
_Layout = Mapping[str, tuple[str, ...]]

_TRUNK: _Layout = {
    "input layer": ("pyramid.trunk.input_layer",),
    "trunk": ("pyramid.trunk.body",),
    "laterals": ("pyramid.lateral_medium", "pyramid.lateral_fine"),
}
_DECODER: _Layout = {
    "decoder layer, coarse": ("layers.0",),
    "decoder layer, medium": ("layers.1",),
    "decoder layer, fine": ("layers.2",),
    "learned z": ("z",),
}
_RESIDUAL: _Layout = {
    "learned tokens": ("residual.tokens",),
    "heads of P and Q": ("residual.heads_P", "residual.heads_Q"),
    "scales A, B": ("residual.A", "residual.B"),
}
_BLOCKS: _Layout = {
    "grouped block, coarse": ("blocks.0",),
    "grouped block, medium": ("blocks.1",),
    "grouped block, fine": ("blocks.2",),
}
# What learns of a change, by patterns of its parameters' names.
_CHANGES: Mapping[str, Mapping[str, str]] = {
    "tokens": {"P and Q": r"[PQ]", "scales A, B": r"[AB]"},
    "style_space": {"style offsets": "change"},
    "domain_modulation": {"modulation": "change"},
    "affine_plus": {
        "affine layers": r".*\.affine\..*",
        "offsets of the block's kernels": r"offsets\..*",
    },
}
_HYPERSTYLE: _Layout = {
    "input layer": ("trunk.input_layer",),
    "trunk": ("trunk.body",),
    "codes of the widest kernels": ("codes",),
    "head of the widest kernels, shared": ("kernel_head",),
    "other kernels": ("blocks",),
}
_HFGI: _Layout = {
    "distortion alignment": ("aligner",),
    "consultation, trunk": ("consultation.trunk",),
    "consultation, scale and shift": ("consultation.scale", "consultation.shift"),
}
_FEATURE_TRUNKS: Mapping[bool, _Layout] = {  # gated or not
    True: {"input layer": ("trunk.input_layer",), "trunk": ("trunk.body",)},
    False: {
        "input layer": ("trunk.conv1", "trunk.bn1", "trunk.prelu"),
        "trunk": tuple(f"trunk.layer{stage}" for stage in (1, 2, 3, 4)),
    },
}
_FEATURE_STYLE: _Layout = {"content": ("content",), "linear maps of the rows": ("heads",)}
_FEATURE_SHIFT: _Layout = {"feature editor": ("editor",)}


def describe_inverter(model: str, network: Network, generator: GeneratorConfig) -> Description:
    """Count an inverter.

    Args:
        model: A key of `rs_train.inverters.build.BUILDERS`; of second stages ("two_stage" is the
            refiner) the frozen base inverter is not part.
        network: Its size.
        generator: The generator that it is for.

    Raises:
        UsageError: Sizes that do not fit together.
    """
    with FakeTensorMode():
        inverter = build(model, network, generator)
        image = torch.zeros(1, 3, network.image_size, network.image_size)
        inputs = _inputs(inverter, image, generator)
        parts = _count(inverter, _layout(inverter, model), inputs)
        beside = [_queries(generator)] if model in ("style_transformer", "one_stage") else []
        beside.append(_synthesis(generator))
    if isinstance(inverter, ReStyle | HyperStyle):
        times = inverter.config.iterations
        parts = [Part(part.name, part.parameters, part.macs * times) for part in parts]
    if isinstance(inverter, OneStage | Refiner):
        refined = inverter.config.conv_channels[-inverter.config.refined_layers :]
        product = inverter.config.rank * sum(cin * cout for cin, cout in refined)
        parts.append(Part("residuals PᵀQ", 0, product))
    height = network.image_height or network.image_size
    return Description(
        model,
        (height, network.image_size),
        generator.resolution,
        generator.table.num_ws,
        tuple(parts),
        tuple(beside),
    )


def describe_domain(training: DomainTraining, generator: GeneratorConfig) -> Description:
    """Count what a domain's training changes.

    Raises:
        UsageError: The generator has no such layers.
    """
    table = generator.table
    beside = [_synthesis(generator)]
    if training.parameterisation == "full":
        parts = _fine_tuned(generator, torgb=training.torgb)
    else:
        with torch.device("meta"):
            network = Generator(generator)
        change = new_change(network, training)
        parts = _learning(change, _CHANGES[training.parameterisation])
    if training.parameterisation == "tokens":
        stored = training.rank * (table.sum_in + table.sum_out)
        beside.insert(0, Part("stored in the token set", stored, None))
    return Description(
        "domain", None, generator.resolution, table.num_ws, tuple(parts), tuple(beside)
    )


def describe_hypernetwork(size: HypernetworkSize, generator: GeneratorConfig) -> Description:
    """Count a hypernetwork; it computes once a domain, whatever the pictures."""
    table = generator.table
    with torch.device("meta"):
        network = new_network(size, table)
    parts = (
        Part("trunk", _size_of(network.trunk), None),
        Part("heads' hidden layers", sum(_size_of(head[:-1]) for head in network.heads), None),
        Part("heads' last layers", sum(_size_of(head[-1]) for head in network.heads), None),
    )
    beside = (_synthesis(generator),)
    return Description("hypernetwork", None, generator.resolution, table.num_ws, parts, beside)


def _size_of(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _learning(change: nn.Module, patterns: Mapping[str, str]) -> list[Part]:
    """The parts of a change whose parameters' names match the patterns."""
    sizes = {name: p.numel() for name, p in change.named_parameters() if p.requires_grad}
    return [
        Part(part, sum(size for name, size in sizes.items() if re.fullmatch(pattern, name)), None)
        for part, pattern in patterns.items()
    ]


def _fine_tuned(generator: GeneratorConfig, *, torgb: bool) -> list[Part]:
    """The parts of a synthesis network that is fine-tuned, with or without its toRGB layers."""
    kinds = ("constant", "convolutions", "toRGB") if torgb else ("constant", "convolutions")
    return [
        Part(part.name, part.parameters, None)
        for part in describe_generator(generator).parts
        if part.name.startswith(kinds)
    ]


@lru_cache(maxsize=2)
def describe_generator(config: GeneratorConfig) -> Description:
    """Count a generator, unrefined, drawing one picture from z."""
    table = config.table
    names = {layer: f"synthesis.layers.{module_name(layer)}" for layer in table.layers}
    layout = {"mapping": ("mapping_network",), "constant": ("synthesis.const",)}
    for layer, name in names.items():
        kind = "toRGB" if layer.kind == "torgb" else "convolutions"
        part = f"{kind}, {layer.resolution} x {layer.resolution}"
        layout[part] = (*layout.get(part, ()), name)
    with FakeTensorMode():
        parts = _count(Generator(config), layout, (torch.zeros(1, config.z_dim),))
    return Description("generator", None, config.resolution, table.num_ws, tuple(parts), ())


def _layout(inverter: nn.Module, model: str) -> _Layout:
    if model == "style_transformer":
        return {**_TRUNK, **_DECODER}
    if model == "one_stage":
        base = {
            part: tuple(f"base.{name}" for name in names)
            for part, names in {**_TRUNK, **_DECODER}.items()
        }
        return {**base, "grouped block, fine": ("block",), **_RESIDUAL}
    if model == "two_stage":
        return {**_TRUNK, **_BLOCKS, **_RESIDUAL}
    if model in ("hyperstyle", "hfgi"):
        return _HYPERSTYLE if model == "hyperstyle" else _HFGI
    if model == "feature_style":
        shared = {"linear map that rows share": ("shared",)} if inverter.config.style_rank else {}
        return {**_FEATURE_TRUNKS[inverter.config.gated], **_FEATURE_STYLE, **shared}
    if model == "feature_shift":
        return _FEATURE_SHIFT
    rows = range(inverter.config.num_ws)
    if model == "restyle":
        trunk = {"input layer": ("trunk.input_layer",), "trunk": ("trunk.body",)}
        return {**trunk, "heads": tuple(f"heads.{row}" for row in rows)}
    heads: dict[str, tuple[str, ...]] = {}
    for row in rows:
        part = f"heads, {('coarse', 'medium', 'fine')[level_of(row)]}"
        heads[part] = (*heads.get(part, ()), f"heads.{row}")
    return {**_TRUNK, **heads}


def _inputs(inverter: nn.Module, image: Tensor, generator: GeneratorConfig) -> tuple[Tensor, ...]:
    if isinstance(inverter, Refiner):
        return image, torch.zeros(1, 3, generator.resolution, generator.resolution)
    if isinstance(inverter, ReStyle):
        return image, image, inverter.latent_avg[None]
    if isinstance(inverter, HyperStyle | HFGI):
        return image, image
    if isinstance(inverter, FeatureShift):
        split = generator.table.convs[inverter.config.layer]
        side = split.resolution // split.up
        return (torch.zeros(1, split.in_channels, side, side),) * 3
    return (image,)


def _count(model: nn.Module, layout: _Layout, inputs: tuple[Tensor, ...] | None) -> list[Part]:
    """Add up the numbers of each part's modules; with inputs, run the model once."""
    counts: Mapping[str, Mapping[object, int]] = {}
    if inputs is not None:
        with FlopCounterMode(display=False) as counter:
            model.eval()(*inputs)
        counts = counter.get_flop_counts()
    parameters = {name: value.numel() for name, value in model.named_parameters()}

    def macs(name: str) -> int:
        module = getattr(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2])
        if isinstance(module, nn.ModuleList):  # never called itself
            return sum(macs(f"{name}.{index}") for index in range(len(module)))
        return sum(counts.get(f"{type(model).__name__}.{name}", {}).values()) // 2

    return [
        Part(
            part,
            sum(parameters[key] for key in parameters if _is_within(key, names)),
            sum(macs(name) for name in names),
        )
        for part, names in layout.items()
    ]


def _is_within(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _queries(generator: GeneratorConfig) -> Part:
    """The mapping network that makes the queries and learns along; its result is kept."""
    mapping = MappingNetwork(
        generator.z_dim,
        generator.w_dim,
        generator.mapping_layers,
        generator.mapping_lr_multiplier,
    )
    z = torch.zeros(generator.table.num_ws, generator.z_dim)
    (part,) = _count(mapping, {"mapping of the queries, baked once trained": ("layers",)}, (z,))
    return part


def _synthesis(generator: GeneratorConfig) -> Part:
    """The frozen synthesis, one picture, unrefined."""
    parts = [part for part in describe_generator(generator).parts if part.name != "mapping"]
    return Part(
        "synthesis network, frozen, once",
        sum(part.parameters for part in parts),
        sum(part.macs for part in parts),
    )
