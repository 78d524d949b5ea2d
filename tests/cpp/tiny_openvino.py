"""The hand-written bundles of the runtime's tests with variants for OpenVINO.

The one with tokens comes without its refiner, an input of which does nothing: OpenVINO drops such
an input.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rs_runtime.contracts.bundle import Role, read_bundle, write_bundle
from tests.runtime import feature_bundle, tiny_bundle


def build(folder: Path) -> Path:
    """Writes the bundle with tokens; its graphs take microseconds."""
    manifest, _ = tiny_bundle.manifest_and_contents()
    roles = {name: role for name, role in manifest.roles.items() if name != "refiner"}
    return tiny_bundle.build(folder, model="base", roles=for_openvino(roles))


def build_with_features(folder: Path) -> Path:
    """Writes the bundle with feature maps, beside one of the same name and "-cpu"."""
    source = read_bundle(feature_bundle.build(folder.with_name(f"{folder.name}-cpu")))
    contents = {path: source.read(path) for path in source.manifest.files}
    roles = for_openvino(source.manifest.roles)
    write_bundle(folder, replace(source.manifest, roles=roles), contents)
    return folder


def for_openvino(roles: Mapping[str, Role]) -> dict[str, Role]:
    """The same graphs in the name of OpenVINO."""
    return {
        name: replace(
            role, variants=tuple(replace(variant, engine="openvino") for variant in role.variants)
        )
        for name, role in roles.items()
    }
