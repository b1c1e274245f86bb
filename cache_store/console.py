"""Manners that both command lines share: one-line errors, exit codes, `--json`, progress.

Results go to standard output, everything else (progress, warnings, errors) to standard error, so
that `--json | jq` always works. Progress is a bar on a terminal and plain lines elsewhere. Nothing
heavy is imported before it is used: `--help` has to answer at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import typer

from cache_store.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_UNEXPECTED,
    LqtseError,
    storage_errors,
)
from cache_store.printing import printable

PLAIN_INTERVAL = 10.0  # seconds between two plain progress lines, off a terminal
DEBUG_VARIABLE = "LQTSE_DEBUG"
INTERRUPTED = "interrupted: what was committed is kept; run the same command again to go on"

# typer carried click inside from 0.20 on and imported it before: reach the class through its own.
_CommandLineError: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


class Advance(Protocol):
    """Report `n` finished items, and facts to show beside the bar ("kept=12")."""

    def __call__(self, n: int = 1, **facts: object) -> None: ...


def run(app: typer.Typer, prog: str, args: Sequence[str] | None = None) -> int:
    """Run a typer application and return its exit code; never lets a traceback out.

    Set `LQTSE_DEBUG=1` to see the traceback of any error.

    Args:
        app: The application.
        prog: The name to show in help and usage errors.
        args: Arguments, `sys.argv[1:]` by default.
    """
    # Threads that wait for each other while spinning stall torch as soon as another process wants
    # a core: eightfold slower training was measured. It counts only before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = list(sys.argv[1:] if args is None else args)
    as_json = "--json" in arguments
    # A `kill` becomes the same clean stop as Ctrl-C.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with storage_errors(os.curdir):
            code = typer.main.get_command(app).main(arguments, prog, standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
    except _CommandLineError as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`head`, say) has what it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except LqtseError as error:
        return _fail(error.message, error.exit_code, as_json, type(error).__name__)
    except Exception as error:  # noqa: BLE001 - the last guard before the user's terminal
        text = " ".join(str(error).split()) or "no message"
        return _fail(
            f"unexpected {type(error).__name__}: {text}. "
            f"Set {DEBUG_VARIABLE}=1 to see where, and please report it",
            EXIT_UNEXPECTED,
            as_json,
            type(error).__name__,
        )
    finally:
        signal.signal(signal.SIGTERM, previous)
    if code == EXIT_INTERRUPTED:
        return _fail(INTERRUPTED, EXIT_INTERRUPTED, as_json)
    return code if isinstance(code, int) else EXIT_OK


def _fail(message: str, code: int, as_json: bool, kind: str = "Interrupted") -> int:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    if as_json:
        _write(json.dumps({"error": {"type": kind, "message": message, "exit_code": code}}))
    note(f"error: {message}")
    return code


def _write(text: str) -> None:
    # Captions and answers are the work of others: none of them gets to drive the terminal.
    sys.stdout.write(printable(text, lines=True) + "\n")
    sys.stdout.flush()


def say(text: str = "") -> None:
    """Write one line of a result to standard output."""
    _write(text)


def note(text: str) -> None:
    """Write one line of progress or explanation to standard error."""
    sys.stderr.write(printable(text, lines=True) + "\n")
    sys.stderr.flush()


def warn(text: str) -> None:
    """Write a warning to standard error."""
    note(f"warning: {text}")


def on_terminal() -> bool:
    """Whether standard error is a terminal that a bar can be drawn on."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def summarise(
    facts: Mapping[str, Any], *, as_json: bool, next_command: str | None = None, title: str = ""
) -> None:
    """End a command: its facts as an aligned list, or as one JSON object.

    Args:
        facts: Names and values in the order to show them; a name in words ("captions kept").
        as_json: Print one JSON object, its keys with underscores for spaces.
        next_command: What a user would run next; `next_command` in JSON.
        title: A line above the list.
    """
    if as_json:
        record = {name.replace(" ", "_"): value for name, value in facts.items()}
        if next_command:
            record["next_command"] = next_command
        _write(json.dumps(record, default=str))
        return
    if title:
        _write(title)
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        _write(f"  {name:<{width}}  {_plain(value)}")
    if next_command:
        _write(f"next: {next_command}")


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value) or "none"
    return str(value)


@contextmanager
def progress(label: str, total: int | None, unit: str = "") -> Iterator[Advance]:
    """Show progress on standard error; yields the function that advances it.

    Args:
        label: What is being done ("embed").
        total: How many items there are, None when unknown.
        unit: What the items are ("captions"), for the rate.
    """
    if on_terminal():
        with _bar(label, total, unit) as advance:
            yield advance
    else:
        with _lines(label, total, unit) as advance:
            yield advance


@contextmanager
def _bar(label: str, total: int | None, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}{task.fields[facts]}"),
        TimeRemainingColumn(),
    )
    begin = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, rate="", facts="")

        def advance(n: int = 1, **facts: object) -> None:
            bar.advance(task, n)
            done = bar.tasks[0].completed
            rate = f"{done / max(time.monotonic() - begin, 1e-9):.1f} {unit}/s" if unit else ""
            bar.update(task, rate=rate, facts=_facts(facts))

        yield advance


@contextmanager
def _lines(label: str, total: int | None, unit: str) -> Iterator[Advance]:
    begin = last = time.monotonic()
    done = 0

    def line(facts: Mapping[str, object]) -> str:
        rate = f", {done / max(time.monotonic() - begin, 1e-9):.1f} {unit}/s" if unit else ""
        of = f" of {total:,}" if total is not None else ""
        return f"{label}: {done:,}{of}{rate}{_facts(facts)}"

    def advance(n: int = 1, **facts: object) -> None:
        nonlocal done, last
        done += n
        now = time.monotonic()
        if now - last >= PLAIN_INTERVAL or (total is not None and done == total):
            last = now
            note(line(facts))

    yield advance


def _facts(facts: Mapping[str, object]) -> str:
    return "".join(f"  {name} {_plain(value)}" for name, value in facts.items())
