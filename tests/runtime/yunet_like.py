"""A detector with the inputs and outputs of YuNet, worked out by hand.

A cell of 8 x 8 pixels whose red is bright holds a face; its box is 32 x 32 about the cell's middle
and its points lie at `POINTS`, counted in cells from its upper left. Coarser cells find nothing.
"""

import onnx
from onnx import parser

POINTS = ((-0.5, 0.0), (1.5, 0.0), (0.5, 1.0), (-0.25, 2.0), (1.25, 2.0))
_BOX = (0.5, 0.5, 1.386294, 1.386294)  # centre in cells, logarithm of the sides in cells

_STRIDE = """
    mean_{s} = AveragePool<kernel_shape = [{s}, {s}], strides = [{s}, {s}]>(red)
    score_{s} = Mul(mean_{s}, gain_{s})
    cls_{s} = Reshape(score_{s}, one_column)
    obj_{s} = Identity(cls_{s})
    none_{s} = Mul(cls_{s}, zero)
    bbox_{s} = Add(none_{s}, box)
    kps_{s} = Add(none_{s}, points)
"""


def detector() -> bytes:
    """The bytes of its ONNX file."""
    names = [f"{kind}_{s}" for kind in ("cls", "obj", "bbox", "kps") for s in (8, 16, 32)]
    width = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    outputs = ", ".join(f"float[1, C{n[-1]}, {width[n.split('_')[0]]}] {n}" for n in names)
    flat = ", ".join(str(value) for point in POINTS for value in point)
    text = f"""
<ir_version: 8, opset_import: ["" : 13]>
yunet_like (float[1, 3, H, W] input) => ({outputs})
<int64[3] one_column = {{1, -1, 1}}, float[1] zero = {{0.0}}, int64[1] two = {{2}},
 int64[1] three = {{3}}, int64[1] channels = {{1}},
 float[4] box = {{{", ".join(map(str, _BOX))}}}, float[10] points = {{{flat}}},
 float[1] gain_8 = {{0.00392}}, float[1] gain_16 = {{0.0}}, float[1] gain_32 = {{0.0}}>
{{
    red = Slice(input, two, three, channels)
    {"".join(_STRIDE.format(s=s) for s in (8, 16, 32))}
}}"""
    model = parser.parse_model(text)
    onnx.checker.check_model(model)
    return model.SerializeToString()
