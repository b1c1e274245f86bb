"""The server of the ordeal, in a process of its own: `python -m tests.pipeline.stress.server`.

Writes its address to FOLDER/url, and a line for every call (request id, behaviour) to FOLDER/calls;
once FOLDER/well exists, nothing fails any more. It ends when its standard input does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from pipeline.llm.scripted_server import ScriptedServer
from tests.pipeline.stress.script import Misery, Script


@contextmanager
def serving(folder: Path, misery: Misery) -> Iterator[str]:
    """Start it; yields its address."""
    folder.mkdir(parents=True)
    words = [sys.executable, "-m", "tests.pipeline.stress.server", str(folder)]
    process = subprocess.Popen(
        [*words, json.dumps(asdict(misery))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate()  # closes its input


def calls(folder: Path, begin: int = 0) -> list[tuple[str, str]]:
    """The calls so far, in order: request id and behaviour."""
    text = (folder / "calls").read_text() if (folder / "calls").exists() else ""
    whole = text[: text.rfind("\n") + 1].splitlines()[begin:]
    pairs = (line.partition(" ") for line in whole)
    return [(request_id, behaviour) for request_id, _, behaviour in pairs]


def main(folder: Path, misery: Misery) -> None:
    """Serve until standard input ends."""
    well = False

    def is_well() -> bool:
        nonlocal well
        well = well or (folder / "well").exists()
        return well

    with (folder / "calls").open("w", buffering=1) as log:
        script = Script(misery, is_well, lambda one, name: print(one, name, file=log))
        with ScriptedServer(script, retry_after=0.05) as server:
            print(server.url, flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Misery(**json.loads(sys.argv[2])))
