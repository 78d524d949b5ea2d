"""Role `preprocess`: photo uint8 [H, W, 3] -> image uint8 [1, S, S, 3].

The middle square, resized by the antialiased triangle filter. ONNX's own Resize is not portable
(one engine ignores `antialias`, another differs from Pillow by 11 grey levels), so the filter is
two matrix products whose weights are computed in the graph from the photo's shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import parser
from PIL import Image

from rs_export.graphs.role import Arrays
from rs_export.trace import OPSET

# Weight of input pixel i for output pixel o: max(0, 1 - |i + 1/2 - (o + 1/2) scale| / width), with
# scale = side / S and width = max(scale, 1), each row normalised to 1; Pillow's BILINEAR.
_TEXT = """
<ir_version: 9, opset_import: ["" : {opset}]>
preprocess (uint8[H, W, 3] photo) => (uint8[1, {size}, {size}, 3] image)
{{
    zero = Constant<value_ints = [0]>()
    one = Constant<value_ints = [1]>()
    half = Constant<value_float = 0.5>()
    unit = Constant<value_float = 1.0>()
    size = Constant<value_float = {size}.0>()

    sides = Shape<end = 2>(photo)
    side = ReduceMin(sides)
    surplus = Sub(sides, side)
    two = Constant<value_int = 2>()
    start = Div(surplus, two)
    end = Add(start, side)
    axes = Constant<value_ints = [0, 1]>()
    square = Slice(photo, start, end, axes)
    x = Cast<to = 1>(square)

    side_float = Cast<to = 1>(side)
    scale = Div(side_float, size)
    width = Max(scale, unit)
    outputs = Constant<value_floats = [{centres}]>()
    outputs_column = Unsqueeze(outputs, one)
    centres = Mul(outputs_column, scale)
    first = Constant<value_int = 0>()
    step = Constant<value_int = 1>()
    side_scalar = Squeeze(side)
    pixels_int = Range(first, side_scalar, step)
    pixels = Cast<to = 1>(pixels_int)
    pixel_centres = Add(pixels, half)
    offset = Sub(pixel_centres, centres)
    distance = Abs(offset)
    nearness = Div(distance, width)
    slope = Sub(unit, nearness)
    triangle = Relu(slope)
    total = ReduceSum<keepdims = 1>(triangle, one)
    weights = Div(triangle, total)

    lines = Constant<value_ints = [0, -1]>()
    x_lines = Reshape(x, lines)
    fewer_lines = MatMul(weights, x_lines)
    pixels_shape = Constant<value_ints = [0, -1, 3]>()
    rows = Reshape(fewer_lines, pixels_shape)
    resized = MatMul(weights, rows)
    levels = Round(resized)
    lowest = Constant<value_float = 0.0>()
    highest = Constant<value_float = 255.0>()
    clipped = Clip(levels, lowest, highest)
    bytes = Cast<to = 2>(clipped)
    image = Unsqueeze(bytes, zero)
}}
"""


@dataclass(frozen=True)
class PreprocessRole:
    """Photo to encoder input of side `size`; its reference is Pillow itself."""

    size: int
    name: str = "preprocess"
    outputs: tuple[str, ...] = ("image",)

    def intermediate(self) -> onnx.ModelProto:
        """Parse the graph from its text."""
        centres = ", ".join(f"{o}.5" for o in range(self.size))
        text = _TEXT.format(opset=OPSET, size=self.size, centres=centres)
        return parser.parse_model(text)

    def reference(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Crop and resize with Pillow."""
        photo = Image.fromarray(inputs["photo"])
        side = min(photo.size)
        left, top = (photo.width - side) // 2, (photo.height - side) // 2
        square = photo.crop((left, top, left + side, top + side))
        resized = square.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return {"image": np.asarray(resized)[None]}
