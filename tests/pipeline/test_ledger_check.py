from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pipeline.ledger import FILE_NAME, open_ledger
from pipeline.ledger_check import check_ledger
from pipeline.ledger_format import prepare
from pipeline.llm.amount import NOTHING
from pipeline.llm.base import Answer
from pipeline.stored_answer import digest_of


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / FILE_NAME
    connection = sqlite3.connect(path, isolation_level=None)
    prepare(connection, path)
    for number in range(200):
        identity = f"request-{number:04d}"
        answer = Answer(f"a dog barks {number} times at {'x' * 200}", "stop", 5, 7, "m")
        connection.execute(
            "INSERT INTO answers VALUES (?, 0, '', ?, ?, ?, ?, ?, ?, ?)",
            (identity, answer.text, "stop", 5, 7, "m", None, digest_of(identity, answer)),
        )
    connection.close()
    return path


def test_a_whole_ledger_has_no_fault_and_is_only_looked_at(ledger: Path) -> None:
    before = {path.name: path.read_bytes() for path in ledger.parent.iterdir()}
    assert check_ledger(ledger.parent) == []
    assert {path.name: path.read_bytes() for path in ledger.parent.iterdir()} == before


def test_no_ledger_is_no_fault(tmp_path: Path) -> None:
    assert check_ledger(tmp_path) == []


def test_a_changed_answer_is_found_by_its_digest(ledger: Path) -> None:
    data = ledger.read_bytes()
    assert data.count(b"barks 77 times") == 1
    ledger.write_bytes(data.replace(b"barks 77 times", b"barks 78 times"))
    (fault,) = check_ledger(ledger.parent)
    assert fault.path == FILE_NAME
    assert "request-0077" in fault.what


def test_many_changed_answers_are_counted(ledger: Path) -> None:
    ledger.write_bytes(ledger.read_bytes().replace(b" times at ", b" tines at "))
    faults = check_ledger(ledger.parent)
    assert faults[-1].what == "180 more answers do not"


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_cut_ledger_is_found(ledger: Path, keep: float) -> None:
    data = ledger.read_bytes()
    ledger.write_bytes(data[: int(len(data) * keep)])
    assert check_ledger(ledger.parent)


def test_something_else_is_found(ledger: Path) -> None:
    ledger.write_bytes(b"not a database" * 100)
    (fault,) = check_ledger(ledger.parent)
    assert "damaged" in fault.what


def test_a_ledger_that_is_written_to_can_be_checked(ledger: Path) -> None:
    connection = sqlite3.connect(ledger, isolation_level=None)
    connection.execute("PRAGMA journal_mode=wal")
    connection.execute("UPDATE answers SET text = 'changed' WHERE request_id = 'request-0003'")
    (fault,) = check_ledger(ledger.parent)
    assert "request-0003" in fault.what
    connection.close()


def test_a_page_cut_while_its_journal_has_it_whole_is_no_damage(tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    with open_ledger(tmp_path) as ledger:
        ledger.begin([("a", NOTHING)])
        for path in tmp_path.glob("ledger.sqlite*"):  # as after a kill
            (left / path.name).write_bytes(path.read_bytes())
    path = left / "ledger.sqlite"
    path.write_bytes(path.read_bytes()[:2048])
    assert check_ledger(left) == []
    with open_ledger(left) as again:
        assert again.totals().lost == 1
    (left / "ledger.sqlite").write_bytes((left / "ledger.sqlite").read_bytes()[:2048])
    assert check_ledger(left) != []
