"""rs-train directions import | fit | measure"""

import click

from rs_train.cli.directions import fit, import_, measure


@click.group("directions")
def command() -> None:
    """Edit directions: import public ones, fit your own, measure what they do."""


command.add_command(import_.command)
command.add_command(fit.command)
command.add_command(measure.command)
