"""Whether a ledger is whole: SQLite's own check of the file, and every answer's digest."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cache_store.errors import LqtseError
from cache_store.verify import Fault
from pipeline.ledger import FILE_NAME
from pipeline.ledger_format import VERSION, told, unfinished, version_of
from pipeline.stored_answer import stored_answer

_MOST = 20  # faults that are told one by one


def check_ledger(cache: str | Path) -> list[Fault]:
    """Read a cache's ledger, all of it; return what is wrong, nothing if there is none.

    Only looks: where no writer is at work the file is opened as one that nobody changes, so that
    SQLite leaves no file beside it.

    Args:
        cache: The cache's folder.
    """
    path = Path(cache) / FILE_NAME
    if not path.is_file():
        return []
    try:
        with (
            told(path),
            _settled(path) as address,
            closing(sqlite3.connect(address, uri=True)) as connection,
        ):
            return _faults(connection, path)
    except LqtseError as error:
        return [_fault(f"{error.what} ({error.found})")]


@contextmanager
def _settled(path: Path) -> Iterator[str]:
    """What to open: the ledger itself, or a copy where a run died while writing it.

    To take back what was half written SQLite has to write; the next run lets it.
    """
    more = unfinished(path)
    if not any(one.name.endswith("-journal") for one in more):
        yield f"{path.resolve().as_uri()}?mode=ro{'' if more else '&immutable=1'}"
        return
    with tempfile.TemporaryDirectory() as folder:
        for one in (path, *more):
            shutil.copy(one, folder)
        yield f"{(Path(folder).resolve() / path.name).as_uri()}?mode=rw"


def _faults(connection: sqlite3.Connection, path: Path) -> list[Fault]:
    said = [row[0] for row in connection.execute(f"PRAGMA integrity_check({_MOST})")]
    if said != ["ok"]:
        return [_fault(f"SQLite says: {' '.join(str(one).split())}") for one in said]
    if version_of(connection, path) != VERSION:
        return []  # an early format, or empty: its answers are checked when it is brought up
    wrong = []
    rows = connection.execute(
        "SELECT request_id, take, digest, text, finish_reason, prompt_tokens, "
        "completion_tokens, model FROM answers ORDER BY request_id, take"
    )
    for request_id, take, digest, *fields in rows:
        if stored_answer(request_id, digest, fields) is None:
            wrong.append(f"answer {take} to request {request_id} does not match its digest")
    more = [f"{len(wrong) - _MOST:,} more answers do not"] if len(wrong) > _MOST else []
    return [_fault(what) for what in (*wrong[:_MOST], *more)]


def _fault(what: str) -> Fault:
    return Fault(
        FILE_NAME,
        what,
        "Restore it from a copy, or move it away: captions stay, answers not yet used will be "
        "asked for again",
    )
