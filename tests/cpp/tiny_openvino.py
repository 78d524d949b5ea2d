"""The hand-written bundle of the runtime's tests with variants for OpenVINO.

Without its refiner, an input of which does nothing: OpenVINO drops such an input.
"""

from dataclasses import replace
from pathlib import Path

from tests.runtime import tiny_bundle


def build(folder: Path) -> Path:
    """Writes it; its graphs take microseconds."""
    manifest, _ = tiny_bundle.manifest_and_contents()
    roles = {
        name: replace(
            role, variants=tuple(replace(variant, engine="openvino") for variant in role.variants)
        )
        for name, role in manifest.roles.items()
        if name != "refiner"
    }
    return tiny_bundle.build(folder, model="base", roles=roles)
