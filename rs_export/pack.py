"""Checked graphs, domains and golden data as one bundle."""

import importlib.util
import io
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from rs_export.compare import TOLERANCES
from rs_export.export import Exported, ExportedModel
from rs_export.prompt_part import prompt_files
from rs_export.sources import Parts, Sources
from rs_export.trace import OPSET
from rs_export.variants import label
from rs_runtime.contracts.bundle import (
    Golden,
    Manifest,
    Reconstruction,
    write_bundle,
)
from rs_runtime.contracts.errors import UsageError
from rs_runtime.contracts.image_spec import ImageSpec
from rs_runtime.contracts.manifest import CALIBRATION_PATH, EDIT_SUFFIX, EDITS_FOLDER

_TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino", "numpy")
_LEAST_LIMIT = 1e-3


def pack(
    path: Path, sources: Sources, parts: Parts, exported: ExportedModel, command: str
) -> Manifest:
    """Write a bundle, all or nothing; the same input gives the same bytes.

    Args:
        path: Its folder; an older bundle there is replaced at the end.
        sources: Where the parts come from; gives the reconstruction.
        parts: The networks, domains and edits.
        exported: Graphs and proofs.
        command: The command to keep in the record, without paths.

    Raises:
        UsageError: A folder that is not a bundle at `path`.
        RefineStyleError: See `write_bundle`.
    """
    contents: dict[str, bytes] = {}
    roles, golden = {}, []
    for name, role in exported.roles.items():
        contents |= {path: model.SerializeToString() for path, model in role.models.items()}
        roles[name] = role.role
        golden.append(_golden(name, role, contents))
    licences = {part: record["licence"] for part, record in parts.records.items()}
    domains = _domains(parts, contents, licences)
    _add_edits(parts, contents, licences)
    if parts.calibration is not None:
        contents[CALIBRATION_PATH] = parts.calibration
    if parts.prompt is not None:
        contents |= prompt_files(parts.prompt)
    proofs: dict[str, Any] = {name: role.parity for name, role in exported.roles.items()}
    if exported.flow:
        proofs["inversion"] = exported.flow
    if exported.split:
        proofs["both parts of the synthesis"] = exported.split
    proofs["tolerances"] = {name: asdict(limits) for name, limits in TOLERANCES.items()}
    manifest = Manifest(
        model=sources.model,
        layer_table=parts.generator.table,
        image=ImageSpec(parts.generator.table.resolution),
        generator_fingerprint=parts.generator.fingerprint(),
        rank=parts.image_rank,
        roles=roles,
        domains=domains,
        reconstruction=_reconstruction(sources),
        golden=tuple(golden),
        parity=proofs,
        licences=licences,
        record=_record(parts, command),
        files={},
    )
    return write_bundle(path, manifest, contents)


def _golden(name: str, role: Exported, contents: dict[str, bytes]) -> Golden:
    """Store one input and its reference output; the limit is twice what this machine differs by."""
    # Roles hand their values on, so many are there already.
    stored = {data: path for path, data in contents.items() if path.startswith("golden/")}
    paths: list[dict[str, str]] = [{}, {}]
    for place, direction, arrays in zip(paths, ("inputs", "outputs"), role.golden, strict=True):
        for key, value in arrays.items():
            data = _npy(value)
            place[key] = stored.setdefault(data, f"golden/{name}/{direction}/{key}.npy")
            contents[place[key]] = data
    exact = [v for v in role.role.variants if v.precision in ("fp32", "fp16_stored")]
    measured = [role.parity[label(variant)]["outputs"] for variant in exact]
    worst = {key: max(own[key]["max_abs"] for own in measured) for key in role.golden[1]}
    limits = {
        key: worst[key] + 1 if value.dtype == np.uint8 else max(2 * worst[key], _LEAST_LIMIT)
        for key, value in role.golden[1].items()
    }
    return Golden(name, inputs=paths[0], outputs=paths[1], max_abs=limits)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array) if array.ndim else array, allow_pickle=False)
    return buffer.getvalue()


def _domains(parts: Parts, contents: dict[str, bytes], licences: dict[str, str]) -> dict[str, str]:
    """Add the token sets and their licences; return path by domain name."""
    paths = {name: f"domains/{name}.tokens" for name in parts.domains}
    for name, domain in parts.domains.items():
        contents[paths[name]] = domain.data
        licences[f"domain {name}"] = domain.tokens.licence
    return paths


def _add_edits(parts: Parts, contents: dict[str, bytes], licences: dict[str, str]) -> None:
    for name, edit in parts.edits.items():
        contents[f"{EDITS_FOLDER}{name}{EDIT_SUFFIX}"] = edit.data
        licences[f"edit {name}"] = edit.direction.licence


def _reconstruction(sources: Sources) -> Reconstruction | None:
    if sources.reconstruction is None:
        return None
    try:
        return Reconstruction(**sources.reconstruction)
    except TypeError as error:
        raise UsageError(
            "the reconstruction record has other fields than a manifest",
            found=", ".join(sources.reconstruction),
            expected="mse_p50, mse_p99, pictures, knows",
        ) from error


def _record(parts: Parts, command: str) -> dict[str, Any]:
    return {
        "command": command,
        "opset": OPSET,
        "versions": {name: metadata.version(name) for name in _TOOLS if _is_installed(name)},
        "checkpoints": {
            part: {"kind": record["kind"], "sha256": record["sha256"]}
            for part, record in parts.records.items()
        },
    }


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
