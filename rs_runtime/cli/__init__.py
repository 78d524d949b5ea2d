"""The command line shared by ``rs-run``, ``rs-train`` and ``rs-export``.

``LazyGroup`` loads a verb's module only when that verb is used, so ``--help`` stays fast and a
missing optional package hurts only the verbs that need it. ``run`` turns every way a command can
end into one message and one exit code. ``main`` is the entry point of ``rs-run``.
"""

from __future__ import annotations

from typing import NoReturn

from rs_runtime.cli._main import LazyGroup, Verb, run

__all__ = ["LazyGroup", "Verb", "main", "run"]


def main() -> NoReturn:
    """Runs ``rs-run`` with the arguments of this process and exits with its code."""
    from rs_runtime.cli._verbs import group

    run(group, "rs-run")
