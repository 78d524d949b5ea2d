"""rs-train import"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rs_runtime.contracts.errors import escape_text
from rs_train.cli.options import make_folder_of

if TYPE_CHECKING:
    from rs_train.importers.convert import Imported


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The generator's checkpoint, .safetensors; an encoder goes beside it as NAME.KIND"
    ".safetensors.  [default: beside FILE]",
)
@click.option("--licence", help="Licence of the weights.  [default: what the file says]")
@click.option(
    "--family",
    type=click.Choice(["psp", "e4e"]),
    help="Needed only where a file does not say which of the two it is.",
)
@click.option(
    "--verify",
    type=click.Path(path_type=Path),
    metavar="EXPECTED.safetensors",
    help="Compute this file's images again, and write nothing if one differs by more than 1e-4.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    file: Path,
    out: Path | None,
    licence: str | None,
    family: str | None,
    verify: Path | None,
    as_json: bool,
) -> None:
    """Convert a public checkpoint: rosinality, NVIDIA StyleGAN2-ADA .pkl, pSp, e4e, ReStyle or
    Style Transformer, told apart by content.

    The file is read without executing anything in it.

    Example: rs-train import stylegan2-ffhq-config-f.pt --out generator.safetensors
    """
    out = file.with_suffix(".safetensors") if out is None else out
    make_folder_of(out)
    from rs_train.importers.convert import import_models
    from rs_train.importers.verify import compare, require

    imported = import_models(file, family)
    report = _report(file, imported, licence)
    if verify is not None:
        report["errors"] = compare(imported.generator, verify)
        if not as_json:
            for key, error in report["errors"].items():
                click.echo(f"  {key}: largest error {error:.2g}")
        require(report["errors"])
    _write(out, imported, report)
    click.echo(json.dumps(report, indent=2) if as_json else _text(report))


def _report(file: Path, imported: "Imported", licence: str | None) -> dict[str, Any]:
    from rs_train.importers.convert import fingerprint

    source = imported.source
    return {
        "file": file.name,
        "family": source.family,
        "container": source.container,
        "bytes": source.size,
        "sha256": source.sha256,
        "options": {k: v for k, v in source.facts.items() if "." not in k and k != "licence"},
        "licence": licence or imported.licence,
        "notes": imported.notes,
        "models": [
            {
                "kind": model.kind,
                "parameters": sum(p.numel() for p in model.parameters()),
                "fingerprint": fingerprint(model),
                "sizes": _sizes(model.config),
            }
            for model in imported.models
        ],
    }


def _sizes(config: Any) -> dict[str, Any]:
    names = (
        *("resolution", "channels", "mapping_layers", "z_dim", "w_dim"),
        *("image_size", "image_height", "num_ws", "iterations", "progressive"),
    )
    return {name: getattr(config, name) for name in names if hasattr(config, name)}


def _write(out: Path, imported: "Imported", report: dict[str, Any]) -> None:
    from rs_train.checkpoint import save_model
    from rs_train.records import environment

    source = {key: report[key] for key in ("file", "family", "container", "sha256")}
    for model, entry in zip(imported.models, report["models"], strict=True):
        path = out if model is imported.generator else out.with_suffix(f".{model.kind}.safetensors")
        record = environment() | {
            "licence": report["licence"],
            "source": source,
            "fingerprint": entry["fingerprint"],
        }
        if model is not imported.generator:
            record["generator_fingerprint"] = report["models"][0]["fingerprint"]
        save_model(path, model, record)
        entry["path"] = str(path)


def _text(report: dict[str, Any]) -> str:
    lines = [
        f"{report['file']}: {report['family']}, {report['container']}, {report['bytes']:,} bytes, "
        f"SHA-256 {report['sha256'][:16]}"
    ]
    for entry in report["models"]:
        sizes = ", ".join(
            f"{name} {'-'.join(map(str, v)) if isinstance(v, tuple) else v}"
            for name, v in entry["sizes"].items()
            if v is not None
        )
        lines += [
            f"{entry['kind']}: {sizes}",
            f"  {entry['parameters']:,} parameters, fingerprint {entry['fingerprint'][:16]}",
            f"  {entry['path']}",
        ]
    lines += [f"note: {note}" for note in report["notes"]]
    if report["licence"] == "not stated":
        lines.append("licence: not stated in the file; --licence records it")
    else:
        lines.append(f"licence: {report['licence']}")
    return "\n".join(map(escape_text, lines))
