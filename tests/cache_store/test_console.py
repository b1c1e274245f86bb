"""Both command lines end the same way: exit codes, one-line errors, JSON that machines can read."""

from __future__ import annotations

import json

import pytest
import typer

from cache_store import console
from cache_store.errors import MismatchError, RemoteError

app = typer.Typer()


@app.command()
def work(how: str, as_json: bool = typer.Option(False, "--json")) -> None:
    if how == "mismatch":
        raise MismatchError("wrong space", where="c", expected="tiny", found="hf:x")
    if how == "remote":
        raise RemoteError("no answer")
    if how == "stop":
        raise KeyboardInterrupt
    if how == "bug":
        raise ZeroDivisionError("division\nby zero")
    with console.progress("embed", 3, "captions") as advance:
        for kept in range(3):
            advance(kept=kept)
    facts = {"captions kept": 3, "rejected": {"empty": 1}}
    console.summarise(facts, as_json=as_json, next_command="lqtse-cache embed c")


@app.command()
def other() -> None:
    """A second command, so that the application has subcommands."""


@pytest.mark.parametrize(
    ("how", "code"), [("mismatch", 4), ("remote", 5), ("stop", 130), ("bug", 1), ("well", 0)]
)
def test_exit_codes(how: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(app, "lqtse-cache", ["work", how]) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    if code:
        assert len(said.strip().splitlines()) == 1
        assert said.startswith("error: ")


def test_usage_errors_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(app, "lqtse-cache", ["work"]) == 2
    assert console.run(app, "lqtse-cache", ["wrok"]) == 2
    assert "No such command" in capsys.readouterr().err


def test_summary_is_a_list_for_people_and_an_object_for_machines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert console.run(app, "lqtse-cache", ["work", "well"]) == 0
    out, err = capsys.readouterr()
    assert "captions kept  3" in out
    assert "next: lqtse-cache embed c" in out
    assert "embed: 3 of 3" in err
    assert console.run(app, "lqtse-cache", ["work", "well", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == {
        "captions_kept": 3,
        "rejected": {"empty": 1},
        "next_command": "lqtse-cache embed c",
    }


def test_an_error_under_json_is_an_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(app, "lqtse-cache", ["work", "mismatch", "--json"]) == 4
    record = json.loads(capsys.readouterr().out)["error"]
    assert record["type"] == "MismatchError"
    assert record["exit_code"] == 4
    assert "expected tiny, found hf:x" in record["message"]


def test_debug_variable_shows_the_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(console.DEBUG_VARIABLE, "1")
    assert console.run(app, "lqtse-cache", ["work", "bug"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_nothing_that_is_said_drives_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for speak in (console.say, console.note, console.warn):
        speak("two\nlines \x1b[2J\x9b31m \u202e")
    console.summarise({"caption": "\x1b]0;owned\x07"}, as_json=False, title="\x1bc")
    out, err = capsys.readouterr()
    assert not [one for one in out + err if one in "\x1b\x07\x9b\u202e"]
    assert r"\x1b[2J" in out and r"\x1b[2J" in err
    assert "two\nlines" in out
