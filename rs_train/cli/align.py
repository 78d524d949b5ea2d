"""rs-train align"""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import click
import numpy as np

from rs_runtime.contracts.errors import PartialFailureError, ResourceError, escape_text

Align = Callable[[str, np.ndarray], np.ndarray]


@click.command("align")
@click.argument("source", type=click.Path(path_type=Path), metavar="FOLDER|ZIP")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to write the crops into."
)
@click.option(
    "--align",
    default="bundle",
    show_default=True,
    metavar="bundle|FILE",
    help="What finds the faces: the bundle's own graph, a YuNet detector's .onnx, or a .json.",
)
@click.option("--bundle", metavar="DIR", help="The bundle.  [default: the demo bundle]")
@click.option(
    "--size", type=click.IntRange(16, 4096), default=256, show_default=True, help="Side of a crop."
)
def command(source: Path, out: Path, align: str, bundle: str | None, size: int) -> None:
    """Crop every photo of a folder or zip to its largest face, as training pictures.

    A crop has the name of its photo, as PNG. Photos that are damaged or show no usable face are
    named at the end, with exit code 8; the others are written all the same.

    Example: rs-train align photos --out data/faces --size 256
    """
    from rs_runtime.faces import choose_faces
    from rs_runtime.pipeline import load
    from rs_train.picture_files import open_pictures

    files = open_pictures(source)
    finder = load(bundle).face_finder(align)

    def crop(name: str, photo: np.ndarray) -> np.ndarray:
        return choose_faces(finder.find(photo, name), photo, name, None, size)[0].picture(size)

    targets = _targets(files.names, out)
    skipped = _run(targets, files.read, crop)
    for name, reason in skipped.items():
        click.echo(f"rs-train: skipped: {escape_text(name)}: {reason}", err=True)
    done = len(targets) - len(skipped)
    click.echo(f"{out}: {done} of {len(targets)} photos, {size} x {size}")
    if skipped:
        raise PartialFailureError(f"{len(skipped)} of {len(targets)} photos were skipped")


def _targets(names: list[str], out: Path) -> dict[str, Path]:
    """Where each photo's crop goes; photos that differ in their suffix alone keep it."""
    stems = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    often = Counter(stems.values())
    return {name: out / f"{stem if often[stem] == 1 else name}.png" for name, stem in stems.items()}


def _run(targets: dict[str, Path], read: Callable[[str], bytes], crop: Align) -> dict[str, str]:
    """Crops and writes; returns why photos were skipped, by name."""
    from rs_runtime.image_io import load_picture, write_picture
    from rs_runtime.overlap import overlapped

    skipped: dict[str, str] = {}
    outcomes = overlapped(
        targets,
        lambda name: load_picture(read(name)),
        crop,
        lambda name, picture: write_picture(_made(targets[name]), picture),
    )
    with click.progressbar(
        length=len(targets), file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        for name, error in outcomes:
            if isinstance(error, ResourceError):
                raise error
            if error is not None:
                text = " ".join(str(error).split())
                skipped[name] = text.removeprefix("picture: ").removeprefix(f"{name}: ")
            bar.update(1)
    return skipped


def _made(path: Path) -> Path:
    """The path, its folder made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{path.parent}: the folder cannot be made",
            found=error.strerror or "",
            hint="choose another --out",
        ) from error
    return path
