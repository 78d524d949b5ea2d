"""``rs-run synth``: random heads, or saved pictures, in any mix of domains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rs_runtime.cli._options import (
    Chosen,
    RuntimeOptions,
    choose,
    domain_option,
    edit_option,
    out_option,
    place_outputs,
    runtime_options,
    tell_provider,
    write_json,
)
from rs_runtime.cli._prompts import PromptOptions, prompt_options
from rs_runtime.contracts.errors import UsageError

if TYPE_CHECKING:
    from rs_runtime.pipeline import Runtime

_CHUNK = 8  # pictures drawn before they are written, so that memory stays flat
_MAX_SEEDS = 100_000
_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


@click.command("synth")
@click.option(
    "--seed", "seeds", metavar="SEEDS", help="Which heads: 7, 1-8, or 1-4,9.  [default: 1]"
)
@click.option(
    "--tokens",
    metavar="FILE",
    help="Draw this saved picture (rs-run invert --save-tokens) instead of random heads.",
)
@domain_option
@prompt_options
@edit_option
@out_option("head.<seed>.<domain>.png here, or <stem>.<domain>.png beside the tokens")
@click.option(
    "--truncation",
    type=float,
    metavar="PSI",
    help="1 draws all the variety of random heads, 0 the average one.  [default: 0.7]",
)
@click.option(
    "--image-strength",
    type=float,
    metavar="X",
    help="Factor on the saved picture's own tokens.  [default: 1]",
)
@runtime_options
def command(
    seeds: str | None,
    tokens: str | None,
    domains: tuple[str, ...],
    prompts: PromptOptions,
    edits: tuple[str, ...],
    out: str | None,
    truncation: float | None,
    image_strength: float | None,
    options: RuntimeOptions,
) -> None:
    """Draw random heads, or a saved picture: edited, in a domain, or as they are.

    \b
    rs-run synth --seed 1-8 --domain sketch --out heads/
    rs-run synth --tokens photo.tokens --edit smile --domain oil
    rs-run synth --seed 1-8 --prompt "a charcoal drawing of a face"
    """

    _refuse_mixed_options(seeds, tokens, truncation, image_strength)
    numbers = parse_seeds(seeds or "1")
    runtime = options.load()
    chosen = choose(runtime, domains, edits, prompts=prompts)
    if tokens is None:
        written = _draw_heads(
            runtime, chosen, numbers, out, 0.7 if truncation is None else truncation
        )
    else:
        strength = 1.0 if image_strength is None else image_strength
        written = [_restyle(runtime, chosen, tokens, out, strength)]
    if options.as_json:
        write_json([{**result, "provider": runtime.provider} for result in written])
        return
    tell_provider(runtime)
    for result in written:
        click.echo(f"wrote {result['output']}")


def parse_seeds(text: str) -> list[int]:
    """Reads "7", "1-8" or "1-4,9".

    Raises:
        UsageError: Not of that form, or more than 100,000 seeds.
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first or last - first >= _MAX_SEEDS - len(numbers):
            raise UsageError(
                f"--seed {text}: not a list of seeds",
                expected=f"such as 7, 1-8 or 1-4,9; at most {_MAX_SEEDS:,}",
            )
        numbers.extend(range(first, last + 1))
    return list(dict.fromkeys(numbers))


def _refuse_mixed_options(
    seeds: str | None, tokens: str | None, truncation: float | None, image_strength: float | None
) -> None:
    heads = {"--seed": seeds, "--truncation": truncation}
    for name, value in heads.items():
        if tokens is not None and value is not None:
            raise UsageError(f"{name} is for random heads, --tokens for a saved picture")
    if tokens is None and image_strength is not None:
        raise UsageError("--image-strength is for a saved picture", hint="name it with --tokens")


def _draw_heads(
    runtime: Runtime, chosen: Chosen, numbers: list[int], out: str | None, psi: float
) -> list[dict]:
    from rs_runtime.image_io import write_picture

    label = f".{chosen.label}" if chosen.label else ""
    names = [Path(f"head.{seed}{label}.png") for seed in numbers]
    outputs = place_outputs(out, names, several=len(numbers) > 1)
    written = []
    for start in range(0, len(numbers), _CHUNK):
        rows = slice(start, start + _CHUNK)
        pictures = runtime.synth(
            numbers[rows], chosen.domains, edits=chosen.edits, truncation_psi=psi
        )
        for seed, output, picture in zip(numbers[rows], outputs[rows], pictures, strict=True):
            written.append({"seed": seed, "output": str(write_picture(output, picture))})
    return written


def _restyle(
    runtime: Runtime, chosen: Chosen, tokens: str, out: str | None, strength: float
) -> dict:
    from rs_runtime.image_io import write_picture

    inversion = runtime.restore(tokens)
    name = Path(tokens).with_name(f"{Path(tokens).stem}.{chosen.label or 'inverted'}.png")
    output = place_outputs(out, [name], several=False)[0]
    picture = inversion.synthesize(chosen.domains, edits=chosen.edits, image_strength=strength)
    return {"tokens": tokens, "output": str(write_picture(output, picture, inputs=[tokens]))}
