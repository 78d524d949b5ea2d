"""The layer table: which layers a StyleGAN2 synthesis has, in which order, reading which w.

For size R there are 2·log2(R) - 3 convolutions and log2(R) - 1 toRGB layers, and num_ws =
2·log2(R) - 2. Convolution n (0-based) reads `w_plus[:, n]`; the toRGB of block j reads
`w_plus[:, 2j + 1]`. The table is data read from shapes, never a constant of the code.

Packed order, used wherever tokens travel as one array: the convolutions in table order; style
offsets append the toRGB layers after all convolutions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UsageError
from rs_runtime.contracts.files import sha256_hex
from rs_runtime.contracts.strict_json import canonical_json

MAX_RESOLUTION = 8192
MAX_CHANNELS = 65536
IMAGE_CHANNELS = 3


@dataclass(frozen=True)
class Layer:
    """One modulated layer of the synthesis network.

    Attributes:
        index: Position in `LayerTable.layers`.
        name: `b<resolution>.conv0`, `b<resolution>.conv1` or `b<resolution>.torgb`.
        kind: `"conv"` or `"torgb"`.
        resolution: Output side in pixels.
        in_channels: Cin, also the length of the layer's style.
        out_channels: Cout.
        kernel: Kernel side k.
        up: 2 for the first convolution of a block after the first, else 1.
        w_index: Which entry of w_plus the style is computed from.
    """

    index: int
    name: str
    kind: Literal["conv", "torgb"]
    resolution: int
    in_channels: int
    out_channels: int
    kernel: int
    up: int
    w_index: int


@dataclass(frozen=True)
class LayerTable:
    """All modulated layers of one synthesis network, in the order in which they run.

    Attributes:
        layers: The layers: b4.conv1, b4.torgb, b8.conv0, b8.conv1, b8.torgb, …
        w_dim: Length of one w.
    """

    layers: tuple[Layer, ...]
    w_dim: int

    @cached_property
    def convs(self) -> tuple[Layer, ...]:
        """The convolutions, in packed order; `convs[n].w_index == n`."""
        return tuple(layer for layer in self.layers if layer.kind == "conv")

    @cached_property
    def torgbs(self) -> tuple[Layer, ...]:
        """The toRGB layers, smallest resolution first."""
        return tuple(layer for layer in self.layers if layer.kind == "torgb")

    @cached_property
    def by_name(self) -> dict[str, Layer]:
        """Layers by name."""
        return {layer.name: layer for layer in self.layers}

    @property
    def num_ws(self) -> int:
        """Number of entries of w_plus: 2·log2(R) - 2."""
        return len(self.convs) + 1

    @property
    def resolution(self) -> int:
        """Output side R in pixels."""
        return self.layers[-1].resolution

    @cached_property
    def sum_in(self) -> int:
        """Σ Cin over the convolutions: width of packed Q and of packed modulation."""
        return sum(layer.in_channels for layer in self.convs)

    @cached_property
    def sum_out(self) -> int:
        """Σ Cout over the convolutions: width of packed P."""
        return sum(layer.out_channels for layer in self.convs)

    @property
    def style_channels(self) -> int:
        """Σ Cin over the convolutions (6,048 for the 1024² FFHQ network)."""
        return self.sum_in

    @cached_property
    def style_channels_with_torgb(self) -> int:
        """Σ Cin over all layers (9,088 for FFHQ): width of packed style offsets."""
        return sum(layer.in_channels for layer in self.layers)

    @cached_property
    def in_slices(self) -> dict[str, slice]:
        """Where each convolution's Cin numbers lie in packed Q and packed modulation."""
        return _slices((layer.name, layer.in_channels) for layer in self.convs)

    @cached_property
    def out_slices(self) -> dict[str, slice]:
        """Where each convolution's Cout numbers lie in packed P."""
        return _slices((layer.name, layer.out_channels) for layer in self.convs)

    @cached_property
    def style_slices(self) -> dict[str, slice]:
        """Where each layer's Cin numbers lie in packed style offsets: convolutions, then toRGB."""
        return _slices((layer.name, layer.in_channels) for layer in (*self.convs, *self.torgbs))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of `to_json()`."""
        return sha256_hex(canonical_json(self.to_json()))

    def before(self, split: int) -> tuple[Layer, ...]:
        """The layers that run before convolution `split`, whose input is the feature map there.

        Raises:
            UsageError: No such convolution.
        """
        if not 0 <= split < len(self.convs):
            raise UsageError(
                "the synthesis network cannot be split there",
                found=f"convolution {split}",
                expected=f"0 to {len(self.convs) - 1}",
            )
        return self.layers[: self.convs[split].index]

    def to_json(self) -> dict[str, Any]:
        """Return the table as plain dicts, lists, strings and ints."""
        return {"layers": [asdict(layer) for layer in self.layers], "w_dim": self.w_dim}

    @staticmethod
    def from_json(value: Any, where: str = "layer table") -> "LayerTable":
        """Read what `to_json` returned.

        Args:
            value: Plain JSON values.
            where: Names the value in messages.

        Raises:
            MalformedFileError: Wrong types or fields, or layers that do not form a StyleGAN2
                synthesis network.
        """
        if not isinstance(value, dict) or set(value) != {"layers", "w_dim"}:
            raise MalformedFileError(f"{where}: wrong fields", expected="layers and w_dim")
        rows, w_dim = value["layers"], value["w_dim"]
        if not isinstance(rows, list) or type(w_dim) is not int:
            raise MalformedFileError(f"{where}: wrong types", expected="a list and an integer")
        layers = tuple(_layer_from_json(row, where) for row in rows)
        channels = {
            layer.resolution: layer.out_channels for layer in layers if layer.kind == "conv"
        }
        try:
            table = LayerTable.from_channels(
                channels, w_dim, kernel=layers[0].kernel if layers else 3
            )
        except UsageError as error:
            raise MalformedFileError(
                f"{where}: not a StyleGAN2 synthesis network", found=error.what
            ) from error
        for found, expected in zip(layers, table.layers, strict=False):
            if found != expected:
                raise MalformedFileError(
                    f"{where}: not a StyleGAN2 synthesis network",
                    found=str(found),
                    expected=str(expected),
                )
        if len(layers) != len(table.layers):
            raise MalformedFileError(
                f"{where}: wrong number of layers",
                found=str(len(layers)),
                expected=str(len(table.layers)),
            )
        return table

    @staticmethod
    def from_channels(channels: Mapping[int, int], w_dim: int, *, kernel: int = 3) -> "LayerTable":
        """Build the table of a synthesis network from its channels per resolution.

        Args:
            channels: Output channels of each block, for every power of two from 4 to R.
            w_dim: Length of one w.
            kernel: Kernel side of the convolutions, 1 or 3.

        Returns:
            The table.

        Raises:
            UsageError: Resolutions that are not 4, 8, …, R, or numbers out of range.
        """
        resolutions = sorted(channels)
        wanted = [4 << j for j in range(len(resolutions))]
        if not resolutions or resolutions != wanted or resolutions[-1] > MAX_RESOLUTION:
            raise UsageError(
                "channels per resolution do not describe a synthesis network",
                found=f"resolutions {resolutions[:16]}",
                expected=f"every power of two from 4 to the image size, at most {MAX_RESOLUTION}",
            )
        for name, number in (*((f"channels[{r}]", channels[r]) for r in wanted), ("w_dim", w_dim)):
            if type(number) is not int or not 1 <= number <= MAX_CHANNELS:
                raise UsageError(
                    f"{name} is out of range",
                    found=str(number),
                    expected=f"an integer from 1 to {MAX_CHANNELS}",
                )
        if kernel not in (1, 3):
            raise UsageError("kernel side is out of range", found=str(kernel), expected="1 or 3")
        return LayerTable(tuple(_layers(channels, kernel)), w_dim)

    @staticmethod
    def from_kernel_shapes(
        conv_shapes: Sequence[Sequence[int]], torgb_shapes: Sequence[Sequence[int]], w_dim: int
    ) -> "LayerTable":
        """Build the table from the shapes of a checkpoint's kernels.

        Args:
            conv_shapes: [Cout, Cin, k, k] of every convolution in the order in which they run.
            torgb_shapes: [3, Cin, 1, 1] of every toRGB, smallest resolution first.
            w_dim: Length of one w.

        Returns:
            The table.

        Raises:
            IncompatibleError: The shapes do not form a StyleGAN2 synthesis network.
        """
        convs = [tuple(int(side) for side in shape) for shape in conv_shapes]
        torgbs = [tuple(int(side) for side in shape) for shape in torgb_shapes]
        if any(len(shape) != 4 for shape in (*convs, *torgbs)):
            raise _not_synthesis(f"shapes {convs + torgbs}", "[Cout, Cin, k, k] each")
        if len(convs) % 2 == 0 or len(torgbs) != (len(convs) + 1) // 2:
            raise _not_synthesis(
                f"{len(convs)} convolutions and {len(torgbs)} toRGB layers",
                "2n - 1 convolutions and n toRGB layers",
            )
        channels = {4 << j: convs[2 * j][0] for j in range(len(torgbs))}
        try:
            table = LayerTable.from_channels(channels, w_dim, kernel=convs[0][2])
        except UsageError as error:
            raise _not_synthesis(f"{error.what}: {error.found}", error.expected) from error
        for layers, shapes in ((table.convs, convs), (table.torgbs, torgbs)):
            for layer, shape in zip(layers, shapes, strict=True):
                expected = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
                if shape != expected:
                    raise _not_synthesis(f"{shape} for {layer.name}", str(expected))
        return table


def _layers(channels: Mapping[int, int], kernel: int) -> Iterable[Layer]:
    index = 0
    for block, resolution in enumerate(sorted(channels)):
        out = channels[resolution]
        if block:
            before = channels[resolution // 2]
            w_index = 2 * block - 1
            yield Layer(
                index, f"b{resolution}.conv0", "conv", resolution, before, out, kernel, 2, w_index
            )
            index += 1
        yield Layer(
            index, f"b{resolution}.conv1", "conv", resolution, out, out, kernel, 1, 2 * block
        )
        yield Layer(
            index + 1,
            f"b{resolution}.torgb",
            "torgb",
            resolution,
            out,
            IMAGE_CHANNELS,
            1,
            1,
            2 * block + 1,
        )
        index += 2


def _layer_from_json(row: Any, where: str) -> Layer:
    types = {field.name: str if field.name in ("name", "kind") else int for field in fields(Layer)}
    if not isinstance(row, dict) or set(row) != set(types):
        raise MalformedFileError(f"{where}: wrong fields in a layer", expected=", ".join(types))
    for key, expected in types.items():
        if type(row[key]) is not expected:
            raise MalformedFileError(
                f"{where}: wrong type of {key}",
                found=type(row[key]).__name__,
                expected=expected.__name__,
            )
    return Layer(**row)


def _slices(sizes: Iterable[tuple[str, int]]) -> dict[str, slice]:
    result = {}
    start = 0
    for name, size in sizes:
        result[name] = slice(start, start + size)
        start += size
    return result


def _not_synthesis(found: str, expected: str) -> IncompatibleError:
    return IncompatibleError(
        "the kernels do not form a StyleGAN2 synthesis network", found=found, expected=expected
    )
