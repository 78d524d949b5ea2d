"""The refined convolution's inner operators as ONNX functions: what runs where no plugin does.

A graph for TensorRT holds nodes `rs::RefineEpilogue…`; `plugins/refined_conv` registers plugins of
these names, and without them the parser, or any other runtime, takes the functions' bodies. Inputs
are base, residual, P (low rank only), demodulation, noise and bias, as the plugins' README says;
attributes `slope` and `gain`. Of a node's `plugin_namespace` and `plugin_version`, by which
TensorRT looks for the plugin, the bodies make no use.
"""

import onnx
from onnx import parser

DOMAIN = "rs"
FORM = "plugin"  # of files that hold such nodes, in a manifest
GEOMETRIES = ("Point", "Box", "Up")
VERSION = "1"  # of the plugins, in a node's plugin_version

# Every map as one channel each, so that one filter serves any number of channels.
_SINGLE = """
  {name}_size = Shape ({name})
  {name}_pixels = Slice ({name}_size, two, four)
  {name}_shape = Concat <axis = 0> (single, {name}_pixels)
  {name}_single = Reshape ({name}, {name}_shape)
"""
# The blur's taps are [1, 3, 3, 1] / 4 a side; with the ones kernel of the transposed convolution
# before them they make [1, 4, 7, 7, 4, 1] / 4.
_UP = (
    """
  zero = Constant <value_ints = [0]> ()
  single = Constant <value_ints = [-1, 1]> ()
  two = Constant <value_ints = [2]> ()
  four = Constant <value_ints = [4]> ()
  quarter = Constant <value_float = 0.0625> ()
"""
    + _SINGLE.format(name="base")
    + """
  blur_taps = Constant <value_floats = [1.0, 3.0, 3.0, 1.0]> ()
  blur_rows = Constant <value_ints = [1, 1, 4, 1]> ()
  blur_columns = Constant <value_ints = [1, 1, 1, 4]> ()
  blur_down = Reshape (blur_taps, blur_rows)
  blur_across = Reshape (blur_taps, blur_columns)
  blur_square = Mul (blur_down, blur_across)
  blur_wide = Mul (blur_square, quarter)
  blur = CastLike (blur_wide, base)
  base_blurred = Conv <pads = [1, 1, 1, 1]> (base_single, blur)
  blurred_size = Shape (base_blurred)
  out_pixels = Slice (blurred_size, two, four)
  base_kept = Slice (base_size, zero, two)
  out_shape = Concat <axis = 0> (base_kept, out_pixels)
  base_there = Reshape (base_blurred, out_shape)
"""
    + _SINGLE.format(name="residual")
    + """
  up_taps = Constant <value_floats = [1.0, 4.0, 7.0, 7.0, 4.0, 1.0]> ()
  up_rows = Constant <value_ints = [1, 1, 6, 1]> ()
  up_columns = Constant <value_ints = [1, 1, 1, 6]> ()
  up_down = Reshape (up_taps, up_rows)
  up_across = Reshape (up_taps, up_columns)
  up_square = Mul (up_down, up_across)
  up_wide = Mul (up_square, quarter)
  up = CastLike (up_wide, residual)
  residual_raised = ConvTranspose <strides = [2, 2], pads = [2, 2, 2, 2]> (residual_single, up)
  residual_kept = Slice (residual_size, zero, two)
  raised_shape = Concat <axis = 0> (residual_kept, out_pixels)
  residual_there = Reshape (residual_raised, raised_shape)
"""
)
_BOX = """
  base_there = Identity (base)
  residual_mean = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1],
                               count_include_pad = 1> (residual)
  nine_wide = Constant <value_float = 9.0> ()
  nine = CastLike (nine_wide, residual)
  residual_there = Mul (residual_mean, nine)
"""
_POINT = """
  base_there = Identity (base)
  residual_there = Identity (residual)
"""
_LOW_RANK = """
  flat = Constant <value_ints = [0, 0, -1]> ()
  residual_flat = Reshape (residual_there, flat)
  outwards = Transpose <perm = [0, 2, 1]> (P)
  product = MatMul (outwards, residual_flat)
  product_shape = Shape (base_there)
  term = Reshape (product, product_shape)
"""
_DENSE = """
  term = Identity (residual_there)
"""
_FINISH = """
  sum = Add (base_there, term)
  per_channel = Constant <value_ints = [2, 3]> ()
  demodulation_maps = Unsqueeze (demodulation, per_channel)
  d = CastLike (demodulation_maps, sum)
  demodulated = Mul (sum, d)
  noisy = Add (demodulated, noise)
  bias_pixels = Constant <value_ints = [1, 2]> ()
  bias_maps = Unsqueeze (bias, bias_pixels)
  b = CastLike (bias_maps, sum)
  shifted = Add (noisy, b)
  active = LeakyRelu <alpha: float = @slope> (shifted)
  gain_wide = Constant <value_float: float = @gain> ()
  gain_like = CastLike (gain_wide, sum)
  y = Mul (active, gain_like)
"""


def op_type(geometry: str, dense: bool) -> str:
    """Return the operator's name: of the node, of the plugin and of the function."""
    return f"RefineEpilogue{geometry}{'Dense' if dense else ''}"


def inputs(dense: bool) -> tuple[str, ...]:
    """Return the names of the inputs in order."""
    rank = () if dense else ("P",)
    return ("base", "residual", *rank, "demodulation", "noise", "bias")


def fp32_inputs(node: onnx.NodeProto) -> set[int]:
    """Return the positions of inputs that are fp32 whatever maps are; none for other operators."""
    if node.domain != DOMAIN:
        return set()
    names = inputs(dense=node.op_type.endswith("Dense"))
    return {names.index("demodulation"), names.index("bias")}


def function(geometry: str, dense: bool, opset: int) -> onnx.FunctionProto:
    """Build one operator's function for a model of this opset, 18 to 20.

    Args:
        geometry: One of `GEOMETRIES`.
        dense: The residual has the output's channels; else it has rank L and P is an input.
        opset: Of the model, whose functions must have the same.
    """
    where = {"Point": _POINT, "Box": _BOX, "Up": _UP}[geometry]
    attributes = "slope, gain, plugin_namespace, plugin_version"
    text = f"""
<domain: "{DOMAIN}", opset_import: ["": {opset}]>
{op_type(geometry, dense)} <{attributes}> ({", ".join(inputs(dense))}) => (y)
{{
{where}{_DENSE if dense else _LOW_RANK}{_FINISH}
}}
"""
    return parser.parse_function(text)
