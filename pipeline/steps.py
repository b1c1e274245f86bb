"""Run public commands one after the other, showing each as a user would type it.

The demo and the examples are made of these steps: every command is its own process, started in
one folder so that what is printed can be typed there. A finished step is remembered in
`steps.json` and not run again, so an interrupted walk goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cache_store.console import say
from cache_store.errors import DataError, LqtseError

MEMORY = "steps.json"


class StepError(LqtseError):
    """A step failed; it leaves with the exit code of its command."""

    def __init__(self, command: str, code: int, folder: Path) -> None:
        super().__init__(
            "a step failed",
            where=command,
            found=f"exit code {code}",
            hint=f"See its message above; then run the same command again: "
            f"finished steps in {folder} are not repeated",
        )
        self.exit_code = code if code > 0 else 1


def need_files(folder: Path, names: Sequence[str], hint: str) -> None:
    """Make sure that what a walk is about to use is there, before its first step.

    Args:
        folder: Where the files lie.
        names: Their names.
        hint: What tells of them.

    Raises:
        DataError: Naming the first that is not.
    """
    for name in names:
        if not (folder / name).is_file():
            raise DataError("a file of the data is missing", where=folder / name, hint=hint)


class Walk:
    """A series of commands in one folder, each run once.

    Args:
        folder: Where the commands run; created when missing.

    Raises:
        DataError: If `folder` holds other things than an earlier walk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._memory = folder / MEMORY
        if folder.exists() and not folder.is_dir():
            raise DataError("not a folder", where=folder, hint="Name another folder")
        if folder.is_dir() and any(folder.iterdir()) and not self._memory.exists():
            raise DataError(
                "the folder holds other files, and they might be overwritten",
                where=folder,
                hint="Name a new or an empty folder",
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._done: dict[str, float] = {}
        if self._memory.exists():
            self._done = _read_memory(self._memory)
        else:
            self._remember()
        say(f"$ cd {shlex.quote(str(folder))}")

    @property
    def seconds(self) -> float:
        """What all finished steps took together, in seconds."""
        return sum(self._done.values())

    def heading(self, text: str) -> None:
        """Announce what the next steps are for."""
        say()
        say(f"# {text}")

    def run(self, *words: str | int | float, again: bool = False) -> None:
        """Print and run one command, unless it has finished before.

        Args:
            words: The command.
            again: Run it even so: it is quick and its output is wanted.

        Raises:
            StepError: If the command fails.
        """
        argv = [str(word) for word in words]
        command = shlex.join(argv)
        say(f"$ {command}")
        if command in self._done and not again:
            say("  (done before)")
            return
        begin = time.monotonic()
        code = subprocess.run(_as_run(argv), cwd=self.folder, check=False).returncode
        if code == 130 or code == -2:
            raise KeyboardInterrupt
        if code != 0:
            raise StepError(command, code, self.folder)
        self._done[command] = time.monotonic() - begin
        self._remember()

    def _remember(self) -> None:
        draft = self._memory.with_suffix(".tmp")
        draft.write_text(json.dumps(self._done, indent=1) + "\n", encoding="utf-8")
        draft.replace(self._memory)


def _read_memory(path: Path) -> dict[str, float]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {str(command): float(seconds) for command, seconds in record.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(
            "cannot read which steps are done", where=path, hint="Name a new folder"
        ) from error


def _as_run(argv: Sequence[str]) -> list[str]:
    """The command with its program looked up beside this interpreter, wherever PATH points."""
    program = argv[0]
    if program == "python":
        return [sys.executable, *argv[1:]]
    beside = Path(sys.executable).parent / (program + (".exe" if os.name == "nt" else ""))
    return [str(beside) if beside.exists() else program, *argv[1:]]
