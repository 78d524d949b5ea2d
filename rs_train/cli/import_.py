"""rs-train import"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rs_runtime.contracts.errors import UsageError, escape_text
from rs_train.cli.options import make_folder_of

if TYPE_CHECKING:
    from rs_train.importers.convert import Imported
    from rs_train.importers.sandbox import Extract


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The generator's checkpoint, .safetensors; an encoder goes beside it as NAME.KIND"
    ".safetensors. A domain's .tokens.  [default: beside FILE]",
)
@click.option(
    "--generator",
    type=click.Path(path_type=Path),
    help="FILE is a domain for this imported generator.",
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
    generator: Path | None,
    licence: str | None,
    family: str | None,
    verify: Path | None,
    as_json: bool,
) -> None:
    """Convert a public checkpoint: rosinality, NVIDIA StyleGAN2-ADA .pkl, pSp, e4e, ReStyle, Style
    Transformer, or a domain of HyperDomainNet or StyleDomain, told apart by content.

    The file is read without executing anything in it.

    Example: rs-train import stylegan2-ffhq-config-f.pt --out generator.safetensors
    """
    suffix = ".safetensors" if generator is None else ".tokens"
    out = file.with_suffix(suffix) if out is None else out
    if generator is not None and (verify is not None or out.suffix != suffix):
        raise UsageError(
            "a domain is written as a token set, and has no images to compare",
            found=f"--out {out}",
            expected="a name that ends in .tokens, without --verify",
        )
    make_folder_of(out)
    if generator is not None:
        report = _import_domain(file, out, generator, licence)
        click.echo(json.dumps(report, indent=2) if as_json else _domain_text(report))
        return
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


def _import_domain(file: Path, out: Path, generator: Path, licence: str | None) -> dict[str, Any]:
    from rs_runtime.contracts.sealed_file import clean_name
    from rs_train.checkpoint import load_model
    from rs_train.domains.description import DomainDescription
    from rs_train.domains.token_file import write_domain
    from rs_train.importers.domain_offsets import import_domain

    made_for = load_model(generator, expect="generator")
    domain = import_domain(file, made_for.table)
    source, licence = domain.source, licence or "not stated"
    origin = f"{source.facts['patch_key']} of a file with SHA-256 {source.sha256}"
    about = DomainDescription(name=clean_name(out.stem), source=origin)
    groups = {domain.group: domain.values}
    write_domain(out, made_for, about, licence=licence, dtype="F32", **groups)
    return {
        **_origin(file, source),
        "licence": licence,
        "notes": domain.notes,
        "group": domain.group,
        "numbers": sum(value.size for value in domain.values.values()),
        "generator_fingerprint": made_for.fingerprint(),
        "path": str(out),
    }


def _origin(file: Path, source: "Extract") -> dict[str, Any]:
    return {
        "file": file.name,
        "family": source.family,
        "container": source.container,
        "bytes": source.size,
        "sha256": source.sha256,
        "options": {k: v for k, v in source.facts.items() if "." not in k and k != "licence"},
    }


def _report(file: Path, imported: "Imported", licence: str | None) -> dict[str, Any]:
    from rs_train.importers.convert import fingerprint

    return {
        **_origin(file, imported.source),
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


def _domain_text(report: dict[str, Any]) -> str:
    made_for = report["generator_fingerprint"][:16]
    return _joined(
        report,
        [
            f"domain: {report['numbers']:,} numbers of {report['group']}, generator {made_for}",
            f"  {report['path']}",
        ],
    )


def _text(report: dict[str, Any]) -> str:
    lines = []
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
    return _joined(report, lines)


def _joined(report: dict[str, Any], written: list[str]) -> str:
    """What was read, what was written, notes, and the licence."""
    lines = [
        f"{report['file']}: {report['family']}, {report['container']}, {report['bytes']:,} bytes, "
        f"SHA-256 {report['sha256'][:16]}",
        *written,
        *(f"note: {note}" for note in report["notes"]),
    ]
    if report["licence"] == "not stated":
        lines.append("licence: not stated in the file; --licence records it")
    else:
        lines.append(f"licence: {report['licence']}")
    return "\n".join(map(escape_text, lines))
