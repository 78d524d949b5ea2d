"""Which project wrote a checkpoint, told by what is in it, and the part of it that is wanted."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError
from rs_train.importers.inert import PersistentObject, StoredTensor

# Projects that wrap a generator and an encoder in one state dict.
ENCODER_FAMILIES = ("psp", "e4e", "restyle", "style_transformer")
# What the reading process is asked for when no model is wanted but a file of edit directions.
DIRECTION = "direction"
# Domains without their generator, and what the numbers of each of their kinds are to us.
DOMAIN_OFFSETS = "domain_offsets"
OFFSET_PATCHES = {"s_delta": "style_offset", "cin_mult": "modulation"}
FAMILIES = ("rosinality", "nvidia", *ENCODER_FAMILIES, DOMAIN_OFFSETS)

# The options of a training that say something about its weights; the rest is its author's machine.
_OPTIONS = (
    "dataset_type",
    "encoder_type",
    "input_nc",
    "learn_in_w",
    "n_iters_per_batch",
    "n_styles",
    "output_size",
    "start_from_latent_avg",
    "stylegan_size",
)
# Attributes of NVIDIA's modules that decide what they compute.
_ATTRIBUTES = (
    "activation",
    "architecture",
    "bias_gain",
    "c_dim",
    "conv_clamp",
    "img_channels",
    "img_resolution",
    "use_noise",
    "w_dim",
    "z_dim",
)
_MAX_MODULES = 10_000
_MAX_DEPTH = 16
_MAX_SOURCE = 600


@dataclass(frozen=True)
class Found:
    """What is wanted of a checkpoint.

    Attributes:
        family: One of FAMILIES.
        tensors: By name, without the prefixes of wrappers.
        facts: Plain values that go with them, fit for JSON.
    """

    family: str
    tensors: dict[str, StoredTensor]
    facts: dict[str, Any]


def recognise(root: object, family: str | None = None) -> Found:
    """Find the models in a checkpoint.

    Args:
        root: What `read_checkpoint` returned.
        family: Decides between pSp and e4e where the file does not.

    Raises:
        MalformedFileError: None of the known models is in it.
        IncompatibleError: A model that is known, and not supported.
    """
    if isinstance(root, PersistentObject):
        return _nvidia(root)
    if not isinstance(root, Mapping):
        raise MalformedFileError("not a checkpoint", found=type(root).__name__, expected="a dict")
    if isinstance(root.get("G_ema"), PersistentObject):
        return _nvidia(root["G_ema"])
    if isinstance(root.get("g_ema"), Mapping):
        tensors = _without("module.", _tensors(root["g_ema"])) | _latent_avg(root)
        return Found("rosinality", tensors, {})
    if isinstance(root.get("state_dict"), Mapping):
        if "patch_key" in root:
            return _domain_offsets(root)
        return _encoder_and_generator(root, family)
    raise MalformedFileError(
        "none of the models that can be imported is in it",
        found=", ".join(str(key)[:40] for key in list(root)[:8]) or "an empty dict",
        expected="g_ema, G_ema, or a state_dict with encoder.* and decoder.*, or with heads.*",
    )


# -------------------------------------------------------------------------------- domain offsets


def _domain_offsets(root: Mapping[Any, Any]) -> Found:
    facts = {key: root[key] for key in ("patch_key", "da_type") if _is_plain(root.get(key))}
    # HyperDomainNet and StyleDomain spell it differently.
    if root.get("model_type") not in ("parametrization", "parameterization"):
        raise IncompatibleError(
            "its numbers are not those of one domain",
            found=f"model_type {str(root.get('model_type'))[:40]}",
            expected="offsets: parametrization",
        )
    if facts.get("patch_key") not in OFFSET_PATCHES:
        raise IncompatibleError(
            "its domain is of a kind that no token set holds",
            found=f"patch_key {str(root['patch_key'])[:40]}",
            expected=" or ".join(OFFSET_PATCHES),
        )
    state = _without("module.", _tensors(root["state_dict"]))
    heads = {key.removeprefix("heads."): t for key, t in state.items() if key.startswith("heads.")}
    if not heads:
        raise MalformedFileError("its state_dict has no heads.*", found=", ".join(list(state)[:4]))
    return Found(DOMAIN_OFFSETS, heads, facts)


# ----------------------------------------------------------------------------- encoder + generator


def _encoder_and_generator(root: Mapping[Any, Any], family: str | None) -> Found:
    state = _tensors(root["state_dict"])
    tensors = {}
    for part in ("encoder.", "decoder."):
        inner = {key.removeprefix(part): t for key, t in state.items() if key.startswith(part)}
        if not inner:
            unsupported = any(key.startswith("hypernet.") for key in state)
            kind = IncompatibleError if unsupported else MalformedFileError
            raise kind(
                f"its state_dict has no {part}*",
                found="a HyperStyle hypernetwork" if unsupported else ", ".join(list(state)[:4]),
                expected="the encoder and the generator of pSp, e4e, ReStyle or Style Transformer",
            )
        tensors |= {part + key: t for key, t in _without("module.", inner).items()}
    options = root.get("opts")
    options = options if isinstance(options, Mapping) else {}
    facts = {key: options[key] for key in _OPTIONS if _is_plain(options.get(key))}
    found = _encoder_family(tensors, facts) or family
    if found is None:
        raise MalformedFileError(
            "pSp and e4e write the same tensors, and this file does not say which it is",
            hint="name it: --family psp or --family e4e",
        )
    return Found(found, tensors | _latent_avg(root), facts)


def _encoder_family(tensors: Mapping[str, StoredTensor], facts: Mapping[str, Any]) -> str | None:
    if "encoder.transformerlayer_coarse.linear1.weight" in tensors:
        return "style_transformer"
    kind = str(facts.get("encoder_type", ""))
    stem = tensors.get("encoder.input_layer.0.weight") or tensors.get("encoder.conv1.weight")
    # ReStyle reads a picture beside the one before; its encoders are named after their backbone.
    if kind.endswith("BackboneEncoder") or (stem and stem.shape[1:2] == (6,)):
        return "restyle"
    if kind == "Encoder4Editing" or (not kind and "stylegan_size" in facts):
        return "e4e"
    return "psp" if kind or "output_size" in facts else None


# ---------------------------------------------------------------------------------------- nvidia


def _nvidia(generator: PersistentObject) -> Found:
    tensors: dict[str, StoredTensor] = {}
    facts: dict[str, Any] = {"class_name": generator.class_name[:100]}
    statement = _licence_statement(generator.source)
    if statement:
        facts["licence"] = statement
    for count, (path, module) in enumerate(_modules(generator, "", 0)):
        if count > _MAX_MODULES:
            raise MalformedFileError("more modules than a generator has")
        state = module.state
        for part in ("_parameters", "_buffers"):
            held = {key: v for key, v in _mapping(state, part).items() if v is not None}
            tensors |= {path + key: tensor for key, tensor in _tensors(held).items()}
        facts |= {path + key: state[key] for key in _ATTRIBUTES if _is_plain(state.get(key))}
    return Found("nvidia", tensors, facts)


def _modules(
    module: PersistentObject, path: str, depth: int
) -> Iterator[tuple[str, PersistentObject]]:
    if depth > _MAX_DEPTH:
        raise MalformedFileError("modules nested deeper than a generator's")
    yield path, module
    for name, child in _mapping(module.state, "_modules").items():
        if not isinstance(child, PersistentObject) or not isinstance(name, str):
            raise MalformedFileError("a module that is not described as NVIDIA's files do it")
        yield from _modules(child, f"{path}{name}.", depth + 1)


def _mapping(state: Mapping[str, Any], key: str) -> Mapping[Any, Any]:
    value = state.get(key, {})
    if not isinstance(value, Mapping):
        raise MalformedFileError(f"a module whose {key} is no dict")
    return value


def _licence_statement(source: str) -> str:
    """The comment that a source text opens with, if it speaks of rights."""
    lines = []
    for line in source[: 4 * _MAX_SOURCE].lstrip().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.strip("# \t"))
    text = " ".join(" ".join(lines).split())
    spoken = any(word in text.lower() for word in ("licen", "copyright", "rights reserved"))
    return text[:_MAX_SOURCE] if spoken else ""


# ---------------------------------------------------------------------------------------- shared


def _tensors(state: Mapping[Any, Any]) -> dict[str, StoredTensor]:
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, StoredTensor):
            raise MalformedFileError(
                f"{str(key)[:100]} is not a tensor", found=type(value).__name__, expected="a tensor"
            )
    return dict(state)


def _latent_avg(root: Mapping[Any, Any]) -> dict[str, StoredTensor]:
    value = root.get("latent_avg")
    return {} if value is None else _tensors({"latent_avg": value})


def _without(prefix: str, state: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Strip a wrapper's prefix, which is on every name or on none."""
    if all(key.startswith(prefix) for key in state):
        return {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) < 200)
