"""Files of genuine format with random weights, at full size or small.

Names and shapes come from lists in tests/fixtures/formats, read off checkpoints that the projects'
own code wrote. As a program it writes full-size files, with which examples/ffhq can be rehearsed:

    python -m tests.train.importers.genuine FOLDER [FAMILY ...]
"""

import collections
import json
import pickle
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FORMATS = Path(__file__).parents[2] / "fixtures" / "formats"
State = dict[str, Tensor]
Shapes = dict[str, list[int]]
_FIR = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


# ------------------------------------------------------------------------------------------ shapes


def shapes_of(family: str) -> Shapes:
    """Tensors of a family's state_dict at 1024 x 1024."""
    listed = "style_transformer" if family == "style_transformer" else "psp"
    shapes = json.loads((FORMATS / f"{listed}.keys.json").read_text())["state_dict"]
    if family == "restyle":
        # No pyramid, six input channels, and every head starts at the coarsest map.
        fine = re.compile(r"encoder\.(latlayer\d\..*|styles\.\d+\.convs\.(8|10|12)\..*)")
        shapes = {key: shape for key, shape in shapes.items() if not fine.fullmatch(key)}
        shapes["encoder.input_layer.0.weight"] = [64, 6, 3, 3]
    return shapes


def small(shapes: Shapes, resolution: int = 64, divisor: int = 16) -> Shapes:
    """The same network with a smaller generator and thinner layers."""
    levels = resolution.bit_length() - 1
    limits = (
        (r".*styles\.(\d+)\..*", 2 * levels - 2),
        (r"decoder\..*?convs\.(\d+)\..*", 2 * levels - 4),
        (r"decoder\..*?to_rgbs\.(\d+)\..*", levels - 2),
        (r"decoder\..*?noise_(\d+)", 2 * levels - 3),
    )
    out = {}
    for key, shape in shapes.items():
        found = ((re.fullmatch(pattern, key), limit) for pattern, limit in limits)
        if any(match and int(match[1]) >= limit for match, limit in found):
            continue
        if "noise_" not in key:
            shape = [max(side // divisor, 1) if side >= 20 else side for side in shape]
            if ".fc" in key:
                shape = [max(side // divisor, 1) for side in shapes[key][:2]] + [1, 1]
            if key.endswith(".z"):
                shape[1] = 2 * levels - 2
        out[key] = shape
    return out


# ------------------------------------------------------------------------------------------ values


def random_state(shapes: Shapes, seed: int = 0) -> State:
    """Weights in the ranges that training starts from."""
    rng = torch.Generator().manual_seed(seed)
    return collections.OrderedDict((k, _values(k, shape, rng)) for k, shape in shapes.items())


def _values(key: str, shape: list[int], rng: torch.Generator) -> Tensor:
    noise = torch.randn(shape, generator=rng)
    if key.endswith("kernel"):
        return _FIR * 4
    if key.endswith("num_batches_tracked"):
        return torch.tensor(1000)
    if key.endswith("running_var"):
        return 1 + 0.1 * noise.abs()
    if key.endswith("modulation.bias"):
        return 1 + 0.1 * noise
    if ".style." in key:  # the mapping network, whose learning rate is 0.01
        return noise * (100 if key.endswith("weight") else 10)
    if "to_rgb" in key and key.endswith("conv.weight"):
        return 0.1 * noise  # the sum of the sizes' images then lies about [-1, 1]
    if "noise.weight" in key or key.endswith(("bias", "running_mean")):
        return 0.1 * noise
    if len(shape) == 1:  # of norms, and slopes
        return 1 + 0.1 * noise if ".2.weight" not in key else 0.25 + 0.05 * noise
    equalised = key.startswith("decoder.") or ".linear." in key or key.endswith((".z", "noise"))
    if equalised or "noises" in key:
        return noise
    return noise * noise[0].numel() ** -0.5


# ------------------------------------------------------------------------------------------- files


def checkpoint(family: str, shapes: Shapes, seed: int = 0) -> dict[str, Any]:
    """What torch.save gets: state_dict, opts and latent_avg as the family's training saves them."""
    state = random_state(shapes, seed)
    size = next(t.shape[-1] for k, t in reversed(state.items()) if "noises" in k)
    rows = 2 * size.bit_length() - 4
    w_dim = next(len(t) for k, t in state.items() if k.endswith("style.1.weight"))
    common = {"exp_dir": "/home/someone/out", "device": "cuda:0", "start_from_latent_avg": True}
    opts = {
        "psp": {"encoder_type": "GradualStyleEncoder", "output_size": size, "input_nc": 3},
        "e4e": {"encoder_type": "Encoder4Editing", "stylegan_size": size},
        "restyle": {
            "encoder_type": "BackboneEncoder",
            "output_size": size,
            "input_nc": 6,
            "n_iters_per_batch": 5,
        },
        "style_transformer": {"output_size": size, "learn_in_w": False, "input_nc": 3},
    }[family]
    latent_avg = 0.5 * torch.randn(w_dim, generator=torch.Generator().manual_seed(seed + 1))
    if family != "style_transformer":
        latent_avg = latent_avg.repeat(rows, 1)
    return {
        "state_dict": state,
        "opts": common | {"dataset_type": "ffhq_encode"} | opts,
        "latent_avg": latent_avg,
    }


def offsets(patch_key: str, channels: list[int], *, nvidia_names: bool = False) -> dict[str, Any]:
    """A domain as HyperDomainNet (`cin_mult`) or StyleDomain (`s_delta`) saves it.

    Args:
        patch_key: What the numbers do.
        channels: Cin of every convolution.
        nvidia_names: Whether the heads are called as for NVIDIA's generators.
    """
    rng = torch.Generator().manual_seed(len(channels))
    around = (1, 1, -1, 1, 1) if patch_key == "cin_mult" else (1, -1)
    state = collections.OrderedDict()
    for n, width in enumerate(channels):
        name = f"b{4 << (n + 1) // 2}.conv{(n + 1) % 2}" if nvidia_names else f"conv_{n}.params_in"
        state[f"heads.{name}"] = 0.2 * torch.randn(width, generator=rng).reshape(around)
    spelt = "parameterization" if patch_key == "cin_mult" else "parametrization"
    return {
        "model_type": spelt,
        "patch_key": patch_key,
        "state_dict": state,
        "sg2_params": {"img_size": 2 ** (len(channels) // 2 + 2), "latent_size": 512},
        "da_type": "td",
    }


def rosinality(shapes: Shapes, seed: int = 0) -> dict[str, Any]:
    """The generator of pSp's list as its own project saves it."""
    state = random_state(shapes, seed)
    g_ema = {k.removeprefix("decoder."): t for k, t in state.items() if k.startswith("decoder.")}
    w_dim = len(g_ema["style.1.weight"])
    return {"g_ema": collections.OrderedDict(g_ema), "latent_avg": torch.zeros(w_dim)}


def nvidia(generator: torch.nn.Module, source: str = "", **attributes: Any) -> bytes:
    """A .pkl with G_ema, from the numbers of one of this project's generators.

    Args:
        generator: A Generator.
        source: The text that the file carries as the source of its classes.
        attributes: Of every module, beside the usual ones.
    """
    tensors = {"mapping.w_avg": generator.latent_avg}
    for name, tensor in generator.mapping_network.state_dict().items():
        tensors[f"mapping.{name.replace('layers.', 'fc')}"] = tensor
    for name, tensor in generator.synthesis.state_dict().items():
        name = re.sub(r"layers\.(b\d+)_", r"\1.", name).replace("const", "b4.const", 1)
        tensors[f"synthesis.{name.replace('noise_b4.const', 'noise_const')}"] = tensor
    for layer in generator.table.convs:
        tensors[f"synthesis.{layer.name}.resample_filter"] = _FIR
    usual = {"activation": "lrelu", "architecture": "skip", "use_noise": True, "c_dim": 0}
    with _nvidia_classes() as make:
        root = {"G": None, "G_ema": _module("", tensors, source, usual | attributes, make)}
        return pickle.dumps(root | {"training_set_kwargs": {}, "augment_pipe": None}, 4)


def _module(
    path: str,
    tensors: Mapping[str, Tensor],
    source: str,
    attributes: dict[str, Any],
    make: Callable,
) -> object:
    inside = [key.removeprefix(path) for key in tensors if key.startswith(path)]
    names = sorted({key.split(".")[0] for key in inside if "." in key})
    buffers = ("noise_const", "resample_filter", "w_avg")
    own = {key: tensors[path + key] for key in inside if "." not in key}
    state = attributes | {
        "training": False,
        "_parameters": {k: torch.nn.Parameter(v) for k, v in own.items() if k not in buffers},
        "_buffers": {k: v for k, v in own.items() if k in buffers},
        "_modules": collections.OrderedDict(
            (name, _module(f"{path}{name}.", tensors, source, attributes, make)) for name in names
        ),
    }
    if path.startswith("mapping.fc"):
        state["bias_gain"] = 0.01
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": "Module"}
    return make(meta | {"state": state})


@contextmanager
def _nvidia_classes() -> Iterator[Callable]:
    """A module that pickles find where NVIDIA's own is."""
    module = types.ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(meta: dict) -> None:
        raise AssertionError("never called: the importer has a stand-in")

    class Persistent:
        def __init__(self, meta: dict) -> None:
            self.meta = meta

        def __reduce__(self) -> tuple:
            return _reconstruct_persistent_obj, (self.meta,)

    _reconstruct_persistent_obj.__module__ = module.__name__
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj
    sys.modules |= {"torch_utils": types.ModuleType("torch_utils"), module.__name__: module}
    try:
        yield Persistent
    finally:
        del sys.modules["torch_utils"], sys.modules[module.__name__]


def main(folder: Path, families: list[str]) -> None:
    """Write full-size files."""
    folder.mkdir(parents=True, exist_ok=True)
    for family in families:
        path = folder / f"{family}.{'pkl' if family == 'nvidia' else 'pt'}"
        if family == "nvidia":
            from rs_train.generator import Generator, GeneratorConfig

            channels = (512, 512, 512, 512, 512, 256, 128, 64, 32)
            path.write_bytes(nvidia(Generator(GeneratorConfig(channels=channels))))
        elif family == "rosinality":
            torch.save(rosinality(shapes_of("psp")), path)
        else:
            torch.save(checkpoint(family, shapes_of(family)), path)
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["rosinality", "nvidia", "psp", "e4e", "restyle"])
