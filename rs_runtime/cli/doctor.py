"""``rs-run doctor``: what works here, and the command that mends what does not."""

from __future__ import annotations

from dataclasses import asdict

import click

from rs_runtime.cli._options import write_json
from rs_runtime.contracts.errors import escape_text

_MARKS = {"ok": "ok", "absent": "-", "problem": "PROBLEM"}


@click.command("doctor")
@click.option("--bundle", metavar="DIR", help="The bundle to test.  [default: the demo bundle]")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
@click.pass_context
def command(ctx: click.Context, bundle: str | None, as_json: bool) -> None:
    """Look at versions, engines, packages, a bundle and the disk.

    Every engine runs a graph of one node, and the bundle's own examples. Ends with the exit code
    of the first problem, 0 without one.
    """
    from rs_runtime.diagnostics.doctor import examine

    findings = []
    for finding in examine(bundle):
        findings.append(finding)
        if as_json:
            continue
        click.echo(escape_text(f"{_MARKS[finding.state]:<8}{finding.subject}: {finding.detail}"))
        if finding.fix:
            click.echo(escape_text(f"{'':<8}{finding.fix}"))
    if as_json:
        write_json([asdict(finding) for finding in findings])
    ctx.exit(next((finding.exit_code for finding in findings if finding.exit_code), 0))
