"""``rs-run info``: what a bundle or a token set is, what it can do, and under which licences."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rs_runtime.cli._options import write_json
from rs_runtime.contracts.errors import escape_text

if TYPE_CHECKING:
    from rs_runtime.contracts.bundle import Bundle
    from rs_runtime.contracts.directions import Direction
    from rs_runtime.contracts.tokens import TokenSet


@click.command("info")
@click.argument("target", required=False, metavar="[BUNDLE|FILE.tokens|FILE.direction]")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
def command(target: str | None, as_json: bool) -> None:
    """Describe a bundle (the demo's by default), a token set or a direction; checks every file."""
    from rs_runtime.contracts.directions import read_direction
    from rs_runtime.contracts.manifest import EDIT_SUFFIX
    from rs_runtime.contracts.tokens import read_token_set

    if target is None or not os.path.lexists(target) or os.path.isdir(target):
        facts, lines = _bundle(target)
    elif target.endswith(EDIT_SUFFIX):
        facts = _direction_facts(read_direction(target, table=None, fingerprint=None))
        lines = [f"direction {target}", *_table(facts)]
    else:
        token_set = read_token_set(target, table=None, fingerprint=None)
        facts = _token_facts(token_set)
        lines = [f"token set {target}", *_table(facts)]
    if as_json:
        write_json(facts)
    else:
        click.echo("\n".join(escape_text(line) for line in lines))


def _bundle(target: str | None) -> tuple[dict[str, Any], list[str]]:
    from rs_runtime.contracts.bundle import read_bundle
    from rs_runtime.contracts.directions import decode_direction
    from rs_runtime.contracts.tokens import decode_token_set
    from rs_runtime.pipeline import demo_bundle
    from rs_runtime.prompts import has_prompts, read_settings

    bundle = read_bundle(demo_bundle() if target is None else target)
    bundle.verify()
    manifest = bundle.manifest

    def read(decode: Callable[..., Any], path: str) -> Any:
        origin = {"table": manifest.layer_table, "fingerprint": manifest.generator_fingerprint}
        return decode(bundle.read(path), **origin, name_hint=path)

    domains = sorted(manifest.domains.items())
    edits = sorted(manifest.edits.items())
    facts = _bundle_facts(bundle)
    facts["prompts"] = vars(read_settings(bundle)) if has_prompts(bundle) else None
    facts["domains"] = {name: _token_facts(read(decode_token_set, path)) for name, path in domains}
    facts["edits"] = {name: _direction_facts(read(decode_direction, path)) for name, path in edits}
    return facts, _bundle_lines(bundle.root, facts)


def _bundle_facts(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    table = manifest.layer_table
    return {
        "model": manifest.model,
        "image_size": manifest.image.size,
        "bytes": sum(entry.size for entry in manifest.files.values()),
        "files": len(manifest.files),
        "generator_fingerprint": manifest.generator_fingerprint,
        "convolutions": len(table.convs),
        "num_ws": table.num_ws,
        "w_dim": table.w_dim,
        "rank": manifest.rank,
        "roles": {
            name: [
                {
                    "engine": variant.engine,
                    "precision": variant.precision,
                    "form": variant.form,
                    "batch": variant.batch,
                    "bytes": manifest.files[variant.file].size,
                }
                for variant in role.variants
            ]
            for name, role in manifest.roles.items()
        },
        "reconstruction": manifest.reconstruction and vars(manifest.reconstruction),
        "parity": manifest.parity,
        "licences": manifest.licences,
        "record": manifest.record,
    }


def _bundle_lines(root: Path, facts: Mapping[str, Any]) -> list[str]:
    lines = [f"bundle {root}"]
    lines += _table(
        {
            "model": facts["model"],
            "pictures": f"{facts['image_size']} x {facts['image_size']}",
            "size": f"{facts['bytes'] / 1e6:.1f} MB in {facts['files']} files, all as listed",
            "generator": facts["generator_fingerprint"],
            "layers": f"{facts['convolutions']} convolutions, num_ws {facts['num_ws']}, "
            f"w_dim {facts['w_dim']}, image rank {facts['rank']}",
        }
    )
    limits = facts["reconstruction"]
    if limits is not None:
        lines += _table(
            {
                "knows": f"{limits['knows']}; squared error median {limits['mse_p50']:.3g}, "
                f"99th percentile {limits['mse_p99']:.3g} over {limits['pictures']:,} pictures"
            }
        )
    lines += ["roles", *_table({name: _variants(v) for name, v in facts["roles"].items()})]
    if facts["domains"]:
        lines.append("domains")
        lines += _table({name: _domain_line(own) for name, own in facts["domains"].items()})
    if facts["edits"]:
        lines.append("edits")
        lines += _table({name: _edit_line(own) for name, own in facts["edits"].items()})
    if facts["prompts"] is not None:
        lines += ["prompts (--prompt, --style)", *_table(_prompt_lines(facts["prompts"]))]
    if facts["parity"]:
        lines += ["parity (all numbers: --json)", *_table(_parity(facts["parity"]))]
    for title in ("licences", "record"):
        if facts[title]:
            lines += [title, *_table(_flat(facts[title]))]
    return lines


def _variants(variants: Iterable[Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{own['engine']} {own['precision']} {own['form']}, batch {own['batch']}, "
        f"{own['bytes'] / 1e6:.2f} MB"
        for own in variants
    )


def _domain_line(facts: Mapping[str, Any]) -> str:
    parts = ", ".join(group for group in ("residual", "style_offset", "modulation") if facts[group])
    return f'"{facts["source"]}" ({parts}; rank {facts["rank"]}; {facts["licence"]})'


def _edit_line(facts: Mapping[str, Any]) -> str:
    return f"strength 1 is {facts['unit']} ({facts['kind']}; {facts['licence']})"


def _prompt_lines(facts: Mapping[str, Any]) -> dict[str, str]:
    return {
        "knows": facts["knows"],
        "reads": f"{facts['context_length']} tokens, of {facts['vocabulary']:,}",
    }


def _direction_facts(direction: Direction) -> dict[str, Any]:
    return {
        "kind": direction.kind,
        "name": direction.name,
        "unit": direction.unit,
        "source": direction.source,
        "dtype": direction.dtype,
        "generator_fingerprint": direction.fingerprint,
        "layer_table": direction.table_hash,
        "licence": direction.licence,
    }


def _token_facts(token_set: TokenSet) -> dict[str, Any]:
    return {
        "kind": token_set.kind,
        "name": token_set.name,
        "source": token_set.source,
        "rank": token_set.rank,
        "residual": len(token_set.P),
        "style_offset": len(token_set.style_offset),
        "modulation": len(token_set.modulation),
        "w_plus": token_set.w_plus is not None,
        "dtype": token_set.dtype,
        "generator_fingerprint": token_set.fingerprint,
        "layer_table": token_set.table_hash,
        "licence": token_set.licence,
    }


def _parity(proofs: Mapping[str, Any]) -> dict[str, str]:
    """One line for each role and precision: its worst tensor; a manifest may hold other facts."""
    lines = {}
    for role, by_precision in proofs.items():
        for precision, tree in by_precision.items() if isinstance(by_precision, Mapping) else ():
            ratios = list(_decibels(tree))
            finite = [ratio for ratio in ratios if isinstance(ratio, int | float)]
            if ratios:
                worst = f"at least {min(finite):.0f} dB" if finite else "identical"
                lines[f"{role} {precision}"] = f"{worst} over {len(ratios)} tensors"
    return lines


def _decibels(tree: Any) -> Iterator[Any]:
    """Every `psnr_db` below; None where nothing differs."""
    if isinstance(tree, Mapping):
        for key, item in tree.items():
            if key == "psnr_db":
                yield item
            else:
                yield from _decibels(item)


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested facts as one level of "a.b" keys."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = item if isinstance(item, str) else json.dumps(item)
    return flat


def _table(rows: Mapping[str, Any]) -> list[str]:
    width = max((len(key) for key in rows), default=0)
    return [f"  {key:<{width}}  {value}" for key, value in rows.items()]
