"""What rs-train domain is given, and the task that is made of it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rs_runtime.contracts.errors import UsageError
from rs_train.cli.inverted import inverted, portrait_codes
from rs_train.cli.options import shares

if TYPE_CHECKING:
    from torch import Tensor

    from rs_train.data import ImageFolder
    from rs_train.perceptual.arcface import ArcFace
    from rs_train.perceptual.clip import ClipGuide
    from rs_train.tasks.domain import DomainTask, Subject
    from rs_train.tasks.domain_config import DomainRun


@dataclass(frozen=True, kw_only=True)
class DomainInputs:
    """What the command line names: the options of rs-train domain, by their names."""

    prompt: str | None
    source_prompt: str
    references: Path | None
    paired: bool
    reference: Path | None
    portraits: Path | None
    base_inverter: Path | None
    refiner: Path | None
    codes: Path | None
    name: str | None
    generator: Path
    clip: tuple[str, ...]
    arcface: Path | None
    vgg: Path | None
    out: Path


def build_task(
    config: "DomainRun", inputs: DomainInputs
) -> "tuple[DomainTask, ImageFolder | None]":
    """The task that the inputs ask for, and the pictures that its batches are drawn from."""
    from rs_train.checkpoint import load_model
    from rs_train.data import ImageFolder
    from rs_train.devices import pick_device
    from rs_train.domains.description import describe
    from rs_train.domains.pool import HeadPool
    from rs_train.tasks.domain import Subject

    generator = load_model(inputs.generator, expect="generator").to(pick_device())
    codes = portrait_codes(inputs, generator)
    pictures = inputs.references or inputs.reference
    size = generator.config.resolution
    data = ImageFolder(pictures, size, flip=not inputs.paired) if pictures else None
    about = describe(inputs.name or inputs.out.stem, inputs.prompt, data)
    arcface = load_model(inputs.arcface, expect="arcface") if inputs.arcface else None
    # Last, because it takes minutes at large sizes.
    heads = replace(config.pool, random_heads=0) if inputs.paired else config.pool
    precision = config.training.precision
    pool = HeadPool(generator, heads, codes, seed=config.loop.seed, precision=precision)
    subject = Subject(config=config, generator=generator, pool=pool, about=about, out=inputs.out)
    if inputs.reference:
        return _one_shot(subject, inputs, arcface, data.images([0])), None
    if inputs.paired:
        return _paired(subject, arcface, data), data
    return _guided(subject, inputs, arcface), data


def _guided(subject: "Subject", inputs: DomainInputs, arcface: "ArcFace | None") -> "DomainTask":
    from rs_train.tasks.guided_domain import GuidedDomainTask

    return GuidedDomainTask(
        subject,
        clips=_clips(inputs) if inputs.prompt else {},
        prompts=(inputs.source_prompt, inputs.prompt) if inputs.prompt else None,
        arcface=arcface,
        has_references=inputs.references is not None,
    )


def _paired(subject: "Subject", arcface: "ArcFace | None", data: "ImageFolder") -> "DomainTask":
    from rs_train.tasks.paired_domain import PairedDomainTask

    if len(data) != len(subject.pool):
        raise UsageError(
            "--paired needs one reference a portrait",
            found=f"{len(data)} references",
            expected=f"{len(subject.pool)}",
        )
    return PairedDomainTask(subject, arcface=arcface)


def _one_shot(
    subject: "Subject", inputs: DomainInputs, arcface: "ArcFace | None", reference: "Tensor"
) -> "DomainTask":
    from rs_train.inverters.base import load_base
    from rs_train.perceptual.lpips import Lpips
    from rs_train.tasks.difa import DifaTask
    from rs_train.tasks.goga import GogaTask
    from rs_train.tasks.mindthegap import MindTheGapTask
    from rs_train.tasks.one_shot_domain import Shown

    ways = {"goga": GogaTask, "mindthegap": MindTheGapTask, "difa": DifaTask}
    shown = Shown(
        reference=reference,
        codes=inverted(inputs, subject.generator, inputs.reference),
        base=load_base(inputs.base_inverter),
        arcface=arcface,
        vgg=Lpips(inputs.vgg, "vgg") if inputs.vgg else None,
        clips=_clips(inputs),
    )
    return ways[subject.config.one_shot.way](subject, shown)


def _clips(inputs: DomainInputs) -> "dict[ClipGuide, float]":
    """The ensemble of CLIPs and their weights."""
    from rs_train.perceptual.clip import load_clip

    return {load_clip(name): weight for name, weight in shares("--clip", inputs.clip).items()}
