from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import DamagedError, StorageError, VersionMismatchError
from pipeline import journal, ledger_format
from pipeline.failures import Place
from pipeline.ledger import FILE_NAME, Ledger, open_ledger
from pipeline.ledger_counts import read_ledger
from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.base import Answer
from pipeline.standing import Standing


def answer(text: str = "a dog barks", *, read: int = 10, written: int = 5) -> Answer:
    return Answer(text, "stop", read, written, "m")


def keep(ledger: Ledger, request_id: str, one: Answer, usd: float | None = None) -> None:
    (attempt,) = ledger.begin([(request_id, NOTHING)])
    ledger.store([(attempt, request_id, one, usd)])


def test_an_answer_that_was_stored_is_there_after_reopening(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        keep(ledger, "a", answer())
    with open_ledger(tmp_path) as ledger:
        assert ledger.get(["a", "b"]) == {"a": answer()}


@given(text=st.text(), reason=st.text(max_size=10), model=st.text(max_size=10))
def test_any_text_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, text: str, reason: str, model: str
) -> None:
    one = Answer(text, reason, 1, 2, model)
    with open_ledger(tmp_path_factory.mktemp("ledger")) as ledger:
        keep(ledger, "a", one)
        assert ledger.get(["a"]) == {"a": one}


def test_half_a_surrogate_does_not_lose_the_answers_beside_it(tmp_path: Path) -> None:
    broken = answer("a \ud800 dog")  # json.loads makes one of "\\ud800"
    with open_ledger(tmp_path) as ledger:
        first, second = ledger.begin([("a", NOTHING), ("b", NOTHING)])
        ledger.store([(first, "a", broken, None), (second, "b", answer(), None)])
        found = ledger.get(["a", "b"])
    assert found["b"] == answer()
    assert "dog" in found["a"].text


def test_thousands_of_ids_are_looked_up_at_once(tmp_path: Path) -> None:
    ids = [f"{number}" for number in range(2_345)]
    with open_ledger(tmp_path) as ledger:
        attempts = ledger.begin([(one, NOTHING) for one in ids])
        ledger.store((n, one, answer(one), None) for n, one in zip(attempts, ids, strict=True))
        assert {key: value.text for key, value in ledger.get(ids).items()} == dict(
            zip(ids, ids, strict=True)
        )


def test_the_first_answer_stays(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        keep(ledger, "a", answer("first"))
        keep(ledger, "a", answer("second"))
        assert ledger.get(["a"])["a"].text == "first"


def test_totals_count_tokens_cost_and_what_was_lost(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        keep(ledger, "a", answer(read=10, written=5), 0.25)
        keep(ledger, "b", answer(read=1, written=2), None)
        (failed,) = ledger.begin([("c", Amount(9.0, 90))])
        ledger.fail(failed, "rate_limit")
        (timed_out,) = ledger.begin([("c", Amount(9.0, 90))])
        ledger.fail(timed_out, "timeout", Amount(0.5, 30))
        ledger.begin([("d", Amount(2.0, 200))])
        in_flight = ledger.totals().spent
        assert in_flight == Amount(0.75, 18 + 30), "what is in flight is not spent yet"
    with open_ledger(tmp_path) as ledger:
        totals = ledger.totals()
    assert (totals.answers, totals.prompt_tokens, totals.completion_tokens) == (2, 11, 7)
    assert (totals.attempts, totals.lost) == (5, 1)
    then = Amount(0.75 + 2.0, 18 + 30 + 200)
    assert totals.spent == then, "what was in flight when the process ended counts"
    with read_ledger(tmp_path) as reader:
        assert reader is not None and reader.spent() == then


def _store_and_die(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        keep(ledger, "stored", answer())
        ledger.begin([("in flight", Amount(1.5, 700))])
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_loses_no_answer_and_leaves_its_attempts_marked(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_store_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with open_ledger(tmp_path) as ledger:
        assert ledger.get(["stored"]) == {"stored": answer()}
        assert (ledger.totals().lost, ledger.totals().spent) == (1, Amount(1.5, 15 + 700))


def test_it_is_on_the_disk_before_it_is_used(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        mode = ledger._connection.execute("PRAGMA journal_mode").fetchone()[0]
        full = ledger._connection.execute("PRAGMA synchronous").fetchone()[0]
    assert (mode, full) == ("wal", 2)


def test_a_network_file_system_gets_a_rollback_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, mode in (("nfs4", "delete"), ("fuse.sshfs", "delete"), ("ext4", "wal")):
        monkeypatch.setattr(journal, "_file_system", lambda _, kind=kind: kind)
        assert journal.journal_mode(tmp_path / FILE_NAME) == mode
        (tmp_path / kind).mkdir()
        with open_ledger(tmp_path / kind) as ledger:
            assert ledger._connection.execute("PRAGMA journal_mode").fetchone()[0] == mode


# What the first version of lqtse wrote.
FORMAT_1 = """
CREATE TABLE answers (
    request_id TEXT PRIMARY KEY, text TEXT NOT NULL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, model TEXT NOT NULL,
    usd REAL, digest TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY, request_id TEXT NOT NULL, outcome TEXT NOT NULL,
    worst_usd REAL NOT NULL
);
CREATE INDEX open_attempts ON attempts (outcome) WHERE outcome = 'open';
PRAGMA user_version = 1;
"""


def write_format_1(folder: Path, answers: dict[str, Answer]) -> Path:
    """A ledger as the first version left it: these answers, a failure, a lost attempt."""
    path = folder / FILE_NAME
    old = sqlite3.connect(path)
    old.executescript(FORMAT_1)
    for key, one in answers.items():
        parts = (key, one.text, one.finish_reason, "10", "5", one.model)
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
        row = (key, one.text, one.finish_reason, 10, 5, one.model, 0.25, digest)
        old.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        old.execute("INSERT INTO attempts VALUES (NULL, ?, 'answered', 0)", (key,))
    old.execute("INSERT INTO attempts VALUES (NULL, 'failed', 'timeout', 0.5)")
    old.execute("INSERT INTO attempts VALUES (NULL, 'in flight', 'open', 2.0)")
    old.commit()
    old.close()
    return path


def test_a_ledger_of_format_1_is_brought_up_with_all_that_it_holds(tmp_path: Path) -> None:
    answers = {f"{number}": answer(f"a dog barks {number} times") for number in range(50)}
    write_format_1(tmp_path, answers)
    for _ in range(2):  # the second time there is nothing to bring up
        with open_ledger(tmp_path, "p") as ledger:
            assert ledger.get(list(answers)) == answers
            totals = ledger.totals()
            assert (totals.answers, totals.attempts, totals.lost) == (50, 52, 1)
            # What failed attempts took was not noted in tokens.
            assert totals.spent == Amount(50 * 0.25 + 0.5 + 2.0, 50 * 15)
    with open_ledger(tmp_path, "p") as ledger:
        (timed_out,) = ledger.begin([("new", Amount(0.0, 9))])
        ledger.fail(timed_out, "timeout", Amount(0.0, 9))
        assert ledger.totals().lost_tokens == 9
        again = ledger.asking_again({"7": 0})
        keep(again, "7", answer("a second take"))
        assert ledger.get(["7"])["7"].text == "a second take"


def test_bringing_up_a_ledger_is_all_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_format_1(tmp_path, {"a": answer()})
    with monkeypatch.context() as patch:
        steps = (*ledger_format._FROM_1[:-1], "CREATE TABLE attempts (x)")
        patch.setattr(ledger_format, "_FROM_1", steps)
        with pytest.raises(StorageError), open_ledger(tmp_path):
            pass
    old = sqlite3.connect(path)
    assert old.execute("PRAGMA user_version").fetchone()[0] == 1
    assert old.execute("SELECT text FROM answers").fetchall() == [("a dog barks",)]
    old.close()
    with open_ledger(tmp_path) as ledger:
        assert ledger.get(["a"]) == {"a": answer()}


def test_an_answer_asked_again_stands_beside_the_first(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        keep(ledger, "a", answer("refused"), 0.5)
        keep(ledger, "b", answer("good"))
        again = ledger.asking_again({"a": 0, "b": 0})
        assert again.get(["a", "b"]) == {}, "the judged ones do not count"
        keep(again, "a", answer("better"), 0.25)
        assert again.get(["a", "b"]) == {"a": answer("better")}
        assert ledger.get(["a", "b"]) == {"a": answer("better"), "b": answer("good")}
        assert ledger.totals().usd == 0.75, "both were paid"
        texts = ledger._connection.execute("SELECT text FROM answers WHERE request_id = 'a'")
        assert {row[0] for row in texts} == {"refused", "better"}


def test_a_request_is_given_up_until_it_is_answered(tmp_path: Path) -> None:
    with open_ledger(tmp_path, "p") as ledger:
        keep(ledger, "there", answer())
        ledger.give_up([("a", "timeout"), ("b", "server_error"), ("there", "timeout")])
    with open_ledger(tmp_path, "p") as ledger:
        ids = ["a", "b", "c", "there"]
        assert ledger.given_up(ids) == {"a": "timeout", "b": "server_error"}
        assert ledger.asking_again({"a": -1}).given_up(ids) == {}
        keep(ledger, "a", answer())
        assert ledger.given_up(ids) == {"b": "server_error"}


def test_where_a_plan_failed_holds_as_far_as_it_is_published(tmp_path: Path) -> None:
    with open_ledger(tmp_path, "p") as ledger:
        keep(ledger, "r3", answer("no"))
        ledger.failures.note(0, [(3, "r3", "refusal"), (8, "r8", "no_answer: timeout")])
        assert ledger.failures.published(Standing(request=3)) == []
        assert ledger.failures.published(Standing(request=9)) == [
            Place(3, "r3", "refusal", 0),
            Place(8, "r8", "no_answer: timeout", -1),
        ]
    with open_ledger(tmp_path, "another") as ledger:
        assert ledger.failures.published(Standing(request=9)) == []


def test_a_round_of_asking_again_counts_as_far_as_it_is_published(tmp_path: Path) -> None:
    with open_ledger(tmp_path, "p") as ledger:
        ledger.failures.note(0, [(3, "r3", "refusal"), (8, "r8", "refusal")])
        ledger.failures.note(1, [(3, "r3", ""), (8, "r8", "")])

        def left(standing: Standing) -> list[int]:
            return [place.position for place in ledger.failures.published(standing)]

        assert left(Standing(request=9)) == [3, 8], "nothing of the round is published"
        assert left(Standing(request=9, round=1, retried=4)) == [8]
        assert left(Standing(request=9, round=1, retried=9)) == []
        assert left(Standing(request=9, round=2, retried=0)) == []
        ledger.failures.drop_void(Standing(request=9, round=1, retried=4))
        assert left(Standing(request=9, round=2, retried=0)) == [8], "what died is forgotten"


def _one_line(message: str) -> bool:
    return "\n" not in message and FILE_NAME in message


def test_a_file_that_is_no_ledger_is_damage_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is not SQLite" * 100)
    with pytest.raises(DamagedError, match="ledger is damaged") as caught, open_ledger(tmp_path):
        pass
    assert _one_line(caught.value.message)
    assert caught.value.exit_code == 3


def test_a_database_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / FILE_NAME)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(DamagedError, match="tables that are not ours"), open_ledger(tmp_path):
        pass
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_flipped_letter_in_an_answer_is_found(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        keep(ledger, "a", answer("a dog barks"))
    path = tmp_path / FILE_NAME
    data = path.read_bytes()
    assert data.count(b"a dog barks") == 1
    path.write_bytes(data.replace(b"a dog barks", b"a hog barks"))
    with open_ledger(tmp_path) as ledger, pytest.raises(DamagedError, match="altered"):
        ledger.get(["a"])


@pytest.mark.parametrize("column", ["text", "finish_reason", "model", "prompt_tokens", "take"])
def test_an_answer_whose_text_became_bytes_is_damage(tmp_path: Path, column: str) -> None:
    # One flipped bit in a record's header does that.
    with open_ledger(tmp_path) as ledger:
        keep(ledger, "a", answer())
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute(f"UPDATE answers SET {column} = CAST('xy' AS BLOB)")
    with open_ledger(tmp_path) as ledger, pytest.raises(DamagedError, match="altered"):
        ledger.get(["a"])
    if column != "take":
        with read_ledger(tmp_path) as reader, pytest.raises(DamagedError, match="altered"):
            assert reader is not None
            reader.answers(["a"])


def test_a_cut_file_is_damage(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        for number in range(200):
            keep(ledger, f"{number}", answer("x" * 500))
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DamagedError) as caught, open_ledger(tmp_path) as ledger:
        ledger.get([f"{number}" for number in range(200)])
    assert _one_line(caught.value.message)


def test_less_than_a_page_is_damage_and_no_new_ledger(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        keep(ledger, "a", answer())
    path = tmp_path / FILE_NAME
    for size in (1, 99, 512, 4095):
        os.truncate(path, size)
        with pytest.raises(DamagedError, match="it was cut"), open_ledger(tmp_path):
            pass
        assert path.stat().st_size == size


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(VersionMismatchError, match="newer version"), open_ledger(tmp_path):
        pass


def test_a_full_disk_is_told_in_one_line_and_loses_nothing(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        keep(ledger, "a", answer())
        # SQLite says the same of this limit as of a full disk.
        pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageError, match="disk is full") as caught:
            for number in range(100):
                keep(ledger, f"{number}", answer("x" * 5_000))
        assert _one_line(caught.value.message)
        assert ledger.get(["a"]) == {"a": answer()}
    with open_ledger(tmp_path) as ledger:
        assert ledger.get(["a"]) == {"a": answer()}


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught, open_ledger(tmp_path / "nowhere"):
        pass
    assert _one_line(caught.value.message)
