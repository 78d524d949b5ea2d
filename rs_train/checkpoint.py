"""Models as files: safetensors with the configuration that rebuilds them."""

import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError
from rs_runtime.contracts.files import read_file, write_atomic

FORMAT = "refinestyle-model"
VERSION = 1
_KEY = "refinestyle"
_MAX_BYTES = 8 << 30

# kind of a model -> where its class is; a class has `kind`, a dataclass `config`, Class(config).
MODELS = {
    "generator": "rs_train.generator:Generator",
    "style_transformer": "rs_train.inverters.style_transformer:StyleTransformer",
    "psp": "rs_train.inverters.psp:PSP",
    "e4e": "rs_train.inverters.e4e:E4E",
    "restyle": "rs_train.inverters.restyle:ReStyle",
    "one_stage": "rs_train.inverters.one_stage:OneStage",
    "refiner": "rs_train.inverters.refine:Refiner",
    "hyperstyle": "rs_train.inverters.hyperstyle:HyperStyle",
    "hfgi": "rs_train.inverters.hfgi:HFGI",
    "feature_style": "rs_train.inverters.feature_style:FeatureStyleEncoder",
    "feature_shift": "rs_train.inverters.feature_shift:FeatureShift",
    "clip": "rs_train.perceptual.clip:Clip",
    "arcface": "rs_train.perceptual.arcface:ArcFace",
    "metric": "rs_train.perceptual.metric:MetricNetwork",
    "landmarks": "rs_train.landmarks.network:LandmarkNetwork",
    "hypernetwork": "rs_train.domains.hypernetwork:HyperDomainNet",
}


def save_model(
    path: Path,
    model: nn.Module,
    record: dict[str, Any] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model of a registered kind.

    Args:
        path: Target file; replaced only once the new one is complete.
        model: Has `kind` and `config`; its state dict is stored.
        record: How the model was made, as JSON values; `licence` belongs here too.
        dtype: Storage type of floating-point tensors; loading always gives fp32.
    """
    tensors = {
        name: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in model.state_dict().items()
    }
    header = {
        "format": FORMAT,
        "version": VERSION,
        "kind": model.kind,
        "config": dataclasses.asdict(model.config),
        "record": record or {},
    }
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    data = safetensors.torch.save(tensors, {_KEY: json.dumps(header, sort_keys=True)})
    write_atomic(Path(path), data)


def load_model(path: Path, expect: str | None = None) -> nn.Module:
    """Read a model in eval mode, fp32, on the CPU.

    Args:
        path: A file that save_model wrote.
        expect: The kind that is needed.

    Raises:
        MalformedFileError: Not such a file, or tensors that do not fit the configuration.
        IncompatibleError: Another kind or a newer version.
    """
    header, data = _read(path)
    kind = header["kind"]
    if expect is not None and kind != expect:
        raise IncompatibleError(f"{path}: not a {expect} checkpoint", found=kind, expected=expect)
    if kind not in MODELS:
        raise IncompatibleError(f"{path}: unknown kind {kind!r}", expected=", ".join(MODELS))
    module, _, name = MODELS[kind].partition(":")
    cls = getattr(importlib.import_module(module), name)
    config_class = cls.__init__.__annotations__["config"]
    try:
        model = cls(TypeAdapter(config_class).validate_python(header["config"]))
        model.load_state_dict(safetensors.torch.load(data))
    except (ValidationError, RuntimeError, safetensors.SafetensorError) as error:
        raise MalformedFileError(
            f"{path}: its configuration and tensors do not form a {kind}",
            found=" ".join(str(error).split())[:300],
            hint="get the file again, or train the model again with this version",
        ) from error
    return model.eval().requires_grad_(False)


def read_record(path: Path) -> dict[str, Any]:
    """Return the header of a model file: kind, config, record."""
    return _read(path)[0]


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    data = read_file(Path(path), max_bytes=_MAX_BYTES, what="model checkpoint")
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_KEY])
        found = header["format"], header["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedFileError(
            f"{path}: not a model checkpoint of this project",
            expected="a safetensors file written by rs-train",
            hint="rs-train import converts checkpoints of other projects",
        ) from error
    if found != (FORMAT, VERSION):
        raise IncompatibleError(f"{path}", found=str(found), expected=str((FORMAT, VERSION)))
    return header, data
