"""The demo bundle with encoders for the native engine, for which the demo's own are too small."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx

from rs_export.precision import restore_fp32, store_fp16
from rs_export.trunk_names import has_trunk, name_trunk
from rs_runtime.contracts.bundle import read_bundle, write_bundle
from rs_runtime.contracts.roles import Variant
from tests.cpp.conftest import BUNDLE

_ENCODERS = ("base_inverter", "refiner")


def build(folder: Path, change: Callable[[bytes], bytes] = lambda graph: graph) -> Path:
    """Writes the bundle.

    Args:
        folder: Where to.
        change: What becomes of the graphs that are for the native engine.
    """
    source = read_bundle(BUNDLE)
    contents = {path: source.read(path) for path in source.manifest.files}
    roles = dict(source.manifest.roles)
    for name in _ENCODERS:
        others = [own for own in roles[name].variants if own.engine != "native"]
        graph = name_trunk(restore_fp32(onnx.load_from_string(contents[others[0].file])))
        assert has_trunk(graph)
        path = f"graphs/{name}.native.onnx"
        contents[path] = change(store_fp16(graph).SerializeToString())
        own = Variant(path, "native", "fp16_stored", "winograd", 1)
        roles[name] = replace(roles[name], variants=(*others, own))
    write_bundle(folder, replace(source.manifest, roles=roles), contents)
    return folder
