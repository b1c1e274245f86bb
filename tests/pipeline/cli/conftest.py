from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cache_store import console
from cache_store.errors import EXIT_UNEXPECTED
from pipeline.cli import PROG, app
from tests.pipeline.materials import captions, write_lines, write_vectors


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object that `--json` promises on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line of the error."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `lqtse-cache` in this process; a traceback is always a failure."""

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        code = console.run(app, PROG, [str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in err and code != EXIT_UNEXPECTED, err
        return Outcome(code, out, err)

    return run


@pytest.fixture
def captions_cache(tmp_path: Path, cli: Cli) -> Path:
    """A cache of 12 captions, nothing embedded."""
    source = write_lines(tmp_path / "captions.txt", captions(12))
    assert cli("import", tmp_path / "captions-cache", "--captions", source).code == 0
    return tmp_path / "captions-cache"


@pytest.fixture
def embedded_cache(tmp_path: Path, cli: Cli) -> Path:
    """A cache of 12 captions with embeddings of a space that is only a name."""
    source = write_vectors(tmp_path / "texts.parquet", captions(12), space="elsewhere")
    outcome = cli("import", tmp_path / "cache", "--captions", source, "--embeddings")
    assert outcome.code == 0, outcome.err
    return tmp_path / "cache"


Powerless = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def powerless() -> Powerless:
    """A context without the rights of root, whom permissions do not stop."""

    @contextmanager
    def without_rights() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(65534)  # nobody
        try:
            yield
        finally:
            os.seteuid(0)

    return without_rights
