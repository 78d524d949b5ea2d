"""What TensorRT's parser is given of a graph in a bundle.

Which it takes where a node could be a plugin or the function of its name differs: 10.0 to 10.6 the
function; later ones the plugin, from 10.15 on because nodes have a `plugin_namespace`. So that
nothing depends on it, one of the two is all that it sees.
"""

import onnx
from onnx import inliner

from rs_export.precision import restore_fp32


def parser_input(graph: bytes, *, plugins: bool) -> bytes:
    """Return a graph for the parser: stored fp16 weights as fp32, and plugins or functions.

    Args:
        graph: A file of the bundle.
        plugins: Whether the plugins are registered.
    """
    model = restore_fp32(onnx.load_from_string(graph))
    return (for_plugins(model) if plugins else for_bodies(model)).SerializeToString()


def for_plugins(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy without functions, of which a parser can make nothing but plugins."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.functions[:]
    return result


def for_bodies(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a flat copy in which the functions' bodies stand for their nodes."""
    return inliner.inline_local_functions(model)
