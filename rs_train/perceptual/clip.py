"""CLIP: pictures and texts in one space. Small ones of our own, and any open_clip model."""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_train.perceptual.preprocessing import Preprocessing, to_clip_input
from rs_train.perceptual.templates import fill_templates
from rs_train.perceptual.tokenizer_file import FileTokenizer
from rs_train.perceptual.torchvision_shim import import_package

OPEN_CLIP_PREFIX = "open_clip:"


class ClipGuide(nn.Module):
    """Any open_clip network behind two functions: picture to vector, text to vector.

    Args:
        network: A module with open_clip's `encode_image` and `encode_text`.
        tokenizer: Callable list of texts -> int64 [N, context].
        preprocessing: What `network` expects of its pictures.
        templates: A prompt in each of the sentences that `network` is asked in.
    """

    def __init__(
        self,
        network: nn.Module,
        tokenizer: Any,
        preprocessing: Preprocessing,
        templates: Callable[[str], list[str]],
    ) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.preprocessing = preprocessing
        self.templates = templates

    def embed_image(self, image: Tensor) -> Tensor:
        """Unit vectors [N, D] of pictures [N, 3, H, W] in [-1, 1], any size; differentiable."""
        features = self.network.encode_image(to_clip_input(image, self.preprocessing))
        return F.normalize(features.float(), dim=1)

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [N, D] of texts."""
        tokens = self.tokenizer(list(texts)).to(self.network.logit_scale.device)
        return F.normalize(self.network.encode_text(tokens).float(), dim=1)

    def embed_prompt(self, prompt: str) -> Tensor:
        """Unit vectors [T, D] of a prompt in the network's T templates."""
        return self.embed_text(self.templates(prompt))


@dataclass(frozen=True)
class ClipConfig:
    """Shape of a small CLIP.

    Attributes:
        image_size: Side of the square input, a multiple of 32.
        embed_dim: Length of the common embedding.
        vision_layers: Bottleneck blocks of the four stages of the residual image tower.
        vision_width: Width of the image tower's first stage.
        text_width: Width of the text tower.
        text_layers: Transformer layers of the text tower.
        text_heads: Attention heads of the text tower.
        context_length: Longest text in tokens; longer ones are cut.
        tokenizer: Text of a tokenizer.json; empty for open_clip's own, of 49,408 entries.
    """

    image_size: int = 64
    embed_dim: int = 96
    vision_layers: tuple[int, int, int, int] = (1, 2, 2, 1)
    vision_width: int = 16
    text_width: int = 64
    text_layers: int = 2
    text_heads: int = 2
    context_length: int = 48
    tokenizer: str = ""


class Clip(ClipGuide):
    """A small CLIP of open_clip's own classes, trained on rendered portraits."""

    kind: ClassVar[str] = "clip"

    def __init__(self, config: ClipConfig) -> None:
        open_clip = import_package("open_clip", "The CLIP judge", "open_clip_torch 3.x")
        vision = open_clip.CLIPVisionCfg(
            layers=tuple(config.vision_layers),
            width=config.vision_width,
            head_width=config.vision_width,
            image_size=config.image_size,
        )
        if config.tokenizer:
            tokenizer = FileTokenizer(config.tokenizer, config.context_length)
        else:
            tokenizer = open_clip.SimpleTokenizer(context_length=config.context_length)
        text = open_clip.CLIPTextCfg(
            context_length=config.context_length,
            vocab_size=tokenizer.vocab_size,
            width=config.text_width,
            heads=config.text_heads,
            layers=config.text_layers,
        )
        super().__init__(
            open_clip.CLIP(config.embed_dim, vision, text),
            tokenizer,
            Preprocessing(size=config.image_size),
            fill_templates,
        )
        self.config = config


def load_open_clip(name: str, pretrained: str | None) -> ClipGuide:
    """An open_clip model, asked in the sentences of CLIP's own ImageNet trials.

    Args:
        name: Architecture. OpenAI's weights from a file need the one with `-quickgelu`.
        pretrained: A tag of open_clip's, a file, or None for random weights.

    Raises:
        UsageError: open_clip does not know the architecture.
        IncompatibleError: The weights are not to be had or not of this architecture, or the model
            asks for a preprocessing that is not supported.
    """
    open_clip = import_package("open_clip", "The CLIP judge", "open_clip_torch 3.x")
    if name not in open_clip.list_models():
        raise UsageError(
            f"Unknown CLIP architecture {name}",
            expected="a name that open_clip lists, such as ViT-B-32",
            hint="python -c 'import open_clip; print(open_clip.list_models())'",
        )
    try:
        network = open_clip.create_model(name, pretrained=pretrained)
    except (RuntimeError, LookupError, OSError, ValueError, pickle.UnpicklingError) as error:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise IncompatibleError(
            f"open_clip cannot load {pretrained} into {name}",
            found=" ".join(str(error).split())[:200],
            expected=f"a file of its weights, or one of the tags {tags}",
        ) from error
    return ClipGuide(
        network.eval(),
        open_clip.get_tokenizer(name),
        _preprocessing_of(network),
        lambda prompt: [fill(prompt) for fill in open_clip.OPENAI_IMAGENET_TEMPLATES],
    )


def _preprocessing_of(network: nn.Module) -> Preprocessing:
    """Read open_clip's preprocessing configuration off a model that it created."""
    settings = dict(network.visual.preprocess_cfg)
    size = settings["size"]
    height, width = (size, size) if isinstance(size, int) else size
    interpolation, mode = settings["interpolation"], settings["resize_mode"]
    if height != width or mode not in ("shortest", "squash"):
        raise IncompatibleError(
            "This CLIP's preprocessing is not supported",
            found=f"size {height}x{width}, resize mode {mode}",
            expected="a square input, resize mode shortest or squash",
        )
    return Preprocessing(
        size=height,
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        # open_clip falls back to bicubic for its training-only mode `random`
        interpolation="bilinear" if interpolation == "bilinear" else "bicubic",
        resize_mode=mode,
    )


def load_clip(source: str | Path) -> ClipGuide:
    """A CLIP from a checkpoint of ours or, as `open_clip:NAME:WEIGHTS`, from open_clip.

    Raises:
        UsageError: No weights are named: a network at random guides nowhere.
        RefineStyleError: See `load_open_clip` and `load_model`.
    """
    text = str(source)
    if text.startswith(OPEN_CLIP_PREFIX):
        name, _, weights = text.removeprefix(OPEN_CLIP_PREFIX).partition(":")
        if not weights:
            raise UsageError(f"{text} names no weights", expected=f"{text}:TAG or {text}:FILE")
        return load_open_clip(name, weights)
    from rs_train.checkpoint import load_model

    return load_model(Path(source), expect=Clip.kind)
