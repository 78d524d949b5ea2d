"""rs-train import"""

from pathlib import Path

import click

from rs_train.cli.options import make_folder_of


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The checkpoint to write, .safetensors.",
)
@click.option("--licence", default="unknown", show_default=True, help="Licence of the weights.")
def command(file: Path, out: Path, licence: str) -> None:
    """Convert a generator of rosinality/stylegan2-pytorch.

    The file is read without executing anything in it.

    Example: rs-train import stylegan2-ffhq-config-f.pt --out generator.safetensors
    """
    make_folder_of(out)
    from rs_train.checkpoint import save_model
    from rs_train.importers.rosinality import load_rosinality
    from rs_train.records import environment

    generator = load_rosinality(file)
    save_model(out, generator, environment() | {"licence": licence, "source": file.name})
    config = generator.config
    click.echo(
        f"{out}: generator {config.resolution}x{config.resolution}, "
        f"channels {', '.join(map(str, config.channels))}, {config.mapping_layers} mapping layers, "
        f"fingerprint {generator.fingerprint()[:16]}"
    )
