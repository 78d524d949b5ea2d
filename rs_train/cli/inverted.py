"""Portraits that a command inverts, or finds inverted."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rs_runtime.contracts.errors import UsageError
from rs_train.cli.options import make_folder_of

if TYPE_CHECKING:
    from rs_train.domains.codes import Codes
    from rs_train.generator import Generator


class PortraitOptions(Protocol):
    """The options that name portraits and what inverts them."""

    portraits: Path | None
    base_inverter: Path | None
    refiner: Path | None
    codes: Path | None


def portrait_codes(options: PortraitOptions, generator: "Generator") -> "Codes | None":
    """Inverted portraits: read from --codes, or made and kept there; None without portraits.

    Raises:
        UsageError: There is nothing to read or to invert with.
    """
    from rs_train.domains.codes import read_codes, write_codes

    if options.codes is not None and options.codes.exists():
        return read_codes(options.codes, generator)
    if options.portraits is None:
        if options.codes is None:
            return None
        raise UsageError(f"{options.codes}: no such file", hint="add --portraits to make it")
    if options.base_inverter is None:
        raise UsageError("--portraits must be inverted", hint="add --base-inverter and --refiner")
    codes = inverted(options, generator, options.portraits)
    if options.codes is not None:
        make_folder_of(options.codes)
        write_codes(options.codes, codes, generator)
    return codes


def inverted(options: PortraitOptions, generator: "Generator", pictures: Path) -> "Codes":
    """Invert a folder of pictures, or one, with the networks that the command line names."""
    from rs_train.checkpoint import load_model
    from rs_train.data import ImageFolder
    from rs_train.domains.codes import invert
    from rs_train.inverters.base import load_base

    device = generator.latent_avg.device
    base = load_base(options.base_inverter).to(device)
    refiner = load_model(options.refiner, expect="refiner").to(device) if options.refiner else None
    data = ImageFolder(pictures, base.config.image_size)
    return invert(data.images(range(len(data))).to(device), generator, base, refiner)
