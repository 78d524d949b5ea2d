"""Lazy verbs, and the one place where a failure becomes a message and an exit code."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import FrameType
from typing import Any, NoReturn

import click

from rs_runtime.contracts.errors import (
    InternalError,
    RefineStyleError,
    ResourceError,
    UsageError,
)

INTERRUPTED, TERMINATED, BROKEN_PIPE = 130, 143, 141  # 128 + the signal's number, as shells do
_OUR_PACKAGES = ("rs_runtime", "rs_train", "rs_export")
_MEDIUM_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE)


class Terminated(BaseException):
    """SIGTERM arrived. Not an ``Exception``, so that only clean-up code sees it on its way out."""


class _ReaderGone(BaseException):
    """Standard output was closed by who read it. Click would turn a BrokenPipeError into exit 1."""


@dataclass
class _State:
    """What the group's options leave for ``run``: click's context is gone when a verb fails."""

    debug: bool = False


@dataclass(frozen=True)
class Verb:
    """A verb of a group: where its command lives and its one line in ``--help``.

    Attributes:
        target: ``"package.module:attribute"`` of a ``click.Command``.
        summary: One line; shown without importing the module.
    """

    target: str
    summary: str

    def load(self) -> click.Command:
        """Imports the module and returns the command."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


def _set_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().ensure_object(_State).debug = True


def _accept_debug(command: click.Command) -> click.Command:
    """Gives a command the option ``--debug`` unless it has one."""
    if not any("--debug" in parameter.opts for parameter in command.params):
        command.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=_set_debug,
                help="Show the traceback of an error.",
            )
        )
    return command


class LazyGroup(click.Group):
    """A click group whose verbs are imported on use.

    Args:
        name: The program's (or nested group's) name.
        verbs: Verb name to ``Verb``; shown by ``--help`` in this order.
        help: First lines of ``--help``.
        version: Adds ``--version`` when given.
        extra: The pip extra that brings what the verbs need; named when a package is missing.
    """

    def __init__(
        self,
        name: str,
        verbs: Mapping[str, Verb],
        help: str,
        version: str | None = None,
        extra: str | None = None,
    ) -> None:
        super().__init__(name=name, help=help, context_settings={"max_content_width": 100})
        self.verbs = dict(verbs)
        self.extra = extra
        if version is not None:
            click.version_option(version, prog_name=name)(self)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the verbs in the order they were declared."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one verb; every verb also takes ``--debug``."""
        if cmd_name not in self.verbs:
            return None
        return _accept_debug(self.verbs[cmd_name].load())

    def invoke(self, ctx: click.Context) -> None:
        """Runs the verb; what it returns is for Python callers, never an exit code."""
        try:
            super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderGone from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the verb; an unknown one is refused with the nearest names and the list."""
        if args[0] not in self.verbs and not args[0].startswith("-"):
            near = get_close_matches(args[0], self.verbs)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(
                f"no such verb: {args[0]!r}.{meant} Verbs: {', '.join(self.verbs)}.", ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of verbs from their summaries, importing none of them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.summary) for name, verb in self.verbs.items()])


def run(command: click.Command, prog_name: str, args: Sequence[str] | None = None) -> NoReturn:
    """Runs ``command`` and exits with the code that its outcome stands for.

    One message on stderr, no traceback unless ``--debug``. Codes: 0 fine, 1 our bug, 2 usage,
    3 to 8 the ``exit_code`` of a ``RefineStyleError``, 130 Ctrl-C, 143 SIGTERM, 141 the reader of
    our standard output went away.

    Args:
        command: A click command or group.
        prog_name: The name users type; begins every message.
        args: Arguments; this process's own when None.
    """
    state = _State()
    # Pillow warns about odd metadata that we ignore on purpose; a command gives one message.
    warnings.filterwarnings("ignore", module="PIL")
    previous = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        code = _invoke(command, prog_name, args, state)
    finally:
        signal.signal(signal.SIGTERM, previous)
    sys.exit(code)


def _raise_terminated(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def _invoke(
    command: click.Command, prog_name: str, args: Sequence[str] | None, state: _State
) -> int:
    try:
        code = _accept_debug(command).main(
            args, prog_name=prog_name, standalone_mode=False, obj=state
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        _show_traceback(state)
        error.show()
        return UsageError.exit_code
    except (click.Abort, KeyboardInterrupt):
        _show_traceback(state)
        click.echo(f"{prog_name}: interrupted", err=True)
        return INTERRUPTED
    except Terminated:
        _show_traceback(state)
        click.echo(f"{prog_name}: terminated", err=True)
        return TERMINATED
    except (_ReaderGone, BrokenPipeError):
        # What is still buffered would raise once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        known = _as_refine_style_error(error, getattr(command, "extra", None))
        _show_traceback(state)
        click.echo(f"{prog_name}: {known}", err=True)
        return known.exit_code


def _show_traceback(state: _State) -> None:
    if state.debug:
        traceback.print_exc()


def _as_refine_style_error(error: Exception, extra: str | None) -> RefineStyleError:
    """Names what an exception of another family means to the user."""
    if isinstance(error, RefineStyleError):
        return error
    if isinstance(error, ModuleNotFoundError) and not _is_ours(error.name):
        hint = f'pip install ".[{extra}]" in the project\'s folder' if extra else ""
        return ResourceError(f"the package {error.name} is not installed", hint=hint)
    if isinstance(error, MemoryError):
        return ResourceError("out of memory", hint="use smaller pictures or a smaller batch")
    if isinstance(error, OSError) and error.errno in _MEDIUM_ERRNOS:
        name = os.path.basename(os.fsdecode(error.filename)) if error.filename else "a file"
        return ResourceError(f"cannot read or write {name}", found=str(error.strerror))
    return InternalError(
        "this is a fault of the program",
        found=f"{type(error).__name__}: {_first_line(error)}",
        hint="repeat the command with --debug and report the traceback",
    )


def _is_ours(module: Any) -> bool:
    return isinstance(module, str) and module.split(".")[0] in _OUR_PACKAGES


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
