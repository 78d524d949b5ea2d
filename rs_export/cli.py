"""The command rs-export. Importing this module needs neither PyTorch nor ONNX."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from rs_export.models import MODELS
from rs_runtime.cli import run
from rs_runtime.contracts.errors import ResourceError, UsageError
from rs_runtime.contracts.manifest import MANIFEST_NAME

DEFAULT_OUT = Path("bundle")


@click.command(context_settings={"max_content_width": 100})
@click.option("--model", type=click.Choice(list(MODELS)), help="What the bundle is to do.")
@click.option("--fp16", is_flag=True, help="Weights in half precision; for GPUs, maps, too.")
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Checkpoint or folder: <part>.safetensors, domains/, edits/; repeats. Default: the demo.",
)
@click.option(
    "--domain",
    "domains",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A .tokens file to put into the bundle beside the folder's; repeats.",
)
@click.option(
    "--clip",
    metavar="FILE|open_clip:NAME:TAG",
    help="CLIP that hypernetwork.safetensors reads.  [default: the folder's prompt_clip]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DEFAULT_OUT,
    show_default=True,
    help="Folder of the bundle; an older bundle there is replaced once the new one is proven.",
)
@click.option(
    "--target",
    type=click.Choice(["cpu", "gpu", "all"]),
    show_default="cpu; all with --engine",
    help="What the synthesis is made fast for; every bundle runs on CPUs.",
)
@click.option("--engine", is_flag=True, help="Build TensorRT engines for this machine, too.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="With --engine: build those of this bundle and export nothing.",
)
def command(
    model: str | None,
    fp16: bool,
    checkpoints: tuple[Path, ...],
    domains: tuple[Path, ...],
    clip: str | None,
    out: Path,
    target: str | None,
    engine: bool,
    bundle: Path | None,
) -> None:
    """Export PyTorch checkpoints as a bundle for rs-run.

    Each graph is compared by value with PyTorch and with a NumPy reference before anything is
    written. Engines lie beside the bundle, in the folder of its name and ".engines".
    """
    _check_together(model, target, engine, bundle)
    if engine:
        from rs_export.engine import require_tensorrt

        require_tensorrt()
    if bundle is None:
        named = {"checkpoints": checkpoints, "domains": domains, "clip": clip}
        _export(model, fp16, named, out, target or ("all" if engine else "cpu"))
    if engine:
        _build_engines(bundle or out)


def _check_together(
    model: str | None, target: str | None, engine: bool, bundle: Path | None
) -> None:
    if bundle is not None and not engine:
        raise click.UsageError("--bundle is for --engine.")
    if (bundle is None) == (model is None):
        raise click.UsageError("Give --model, or --engine with --bundle, and not both.")
    if engine and target == "cpu":
        raise click.UsageError("--engine is for --target gpu or all.")


def _export(model: str, fp16: bool, named: Mapping[str, Any], out: Path, target: str) -> None:
    _check_out(out)
    _progress("loading the checkpoints")
    from rs_export.export import export_model
    from rs_export.pack import pack
    from rs_export.sources import find_sources, load_parts

    sources = find_sources(model, **named)
    parts = load_parts(sources)
    if sources.reconstruction is None and model != "generator":
        _progress("not measured on known pictures: the bundle will not warn of unknown ones")
    exported = export_model(parts, fp16=fp16, progress=_progress, target=target)
    line = f"rs-export --model {model}" + (" --fp16" if fp16 else "") + f" --target {target}"
    manifest = pack(out, sources, parts, exported, line)
    size = sum(entry.size for entry in manifest.files.values())
    click.echo(f"{out}: {len(manifest.files)} files, {size / 1e6:.1f} MB")
    if model != "generator":
        click.echo(f"next: rs-run invert PHOTO --bundle {out}")


def _build_engines(bundle: Path) -> None:
    from rs_export.engine import build_engines

    bars = _Bars()
    for path in build_engines(bundle, tell=_progress, steps=bars.show):
        click.echo(str(path))
    click.echo(f"next: rs-run invert PHOTO --bundle {bundle} --provider tensorrt")


class _Bars:
    """One progress bar after another, as the phases of a build come."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._done = 0

    def show(self, phase: str, done: int, total: int) -> None:
        if self._bar is None:
            self._bar, self._done = (
                click.progressbar(
                    length=total, label=phase, file=sys.stderr, hidden=not sys.stderr.isatty()
                ),
                0,
            )
        self._bar.update(done - self._done)
        self._done = done
        if done >= total:
            self._bar.render_finish()
            self._bar = None


command.extra = "export"  # the pip extra that `run` names when a package is missing


def _progress(line: str) -> None:
    click.echo(line, err=True)


def _check_out(out: Path) -> None:
    """Refuse early what could not be written in the end.

    Raises:
        ResourceError: No folder to write into.
        UsageError: Something that is not a bundle is in the way.
    """
    if not out.absolute().parent.is_dir():
        raise ResourceError(
            f"{out}: cannot be written", found="no such folder", hint=f"mkdir -p {out.parent}"
        )
    taken = out.exists() and not out.is_dir()
    if taken or (out.is_dir() and any(out.iterdir()) and not (out / MANIFEST_NAME).is_file()):
        raise UsageError(
            f"{out}: something that is not a bundle is there", hint="choose another --out"
        )


def main() -> NoReturn:
    """Entry point of rs-export."""
    run(command, "rs-export")


if __name__ == "__main__":
    main()
