from __future__ import annotations

import json
from pathlib import Path

import pytest

from cache_store import console
from pipeline.cli import PROG, app
from tests.cache_store.builders import add_step
from tests.cache_store.test_compact import live


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = console.run(app, PROG, list(map(str, words)))
    found = capsys.readouterr()
    return code, found.out, found.err


@pytest.fixture
def caches(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "first", tmp_path / "second"
    add_step(first, 20)
    add_step(first, 20, first=20)
    add_step(second, 20, first=30)
    return first, second


def test_captions_are_removed_and_compacted_away(
    caches: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = caches[0]
    file = tmp_path / "ids.txt"
    file.write_text("\n".join(live(path)[0][:3]) + "\n\n")
    code, out, _ = run(capsys, "remove", path, "--ids", file, "--dry-run")
    assert code == 0
    assert "would be removed  3" in out
    assert "sound number 0 of the café" in out
    code, out, _ = run(capsys, "remove", path, "--ids", file, "--json")
    record = json.loads(out)
    assert (record["removed"], record["left"]) == (3, 37)
    assert record["next_command"] == f"lqtse-cache compact {path} --dry-run"
    code, out, _ = run(capsys, "compact", path, "--dry-run")
    assert "nothing was changed" in out
    code, out, _ = run(capsys, "compact", path)
    assert code == 0
    assert "removed rows left out         3" in out
    assert f"next: lqtse-cache verify {path}" in out
    assert run(capsys, "verify", path)[0] == 0
    assert len(live(path)[0]) == 37


def test_ids_that_are_none_are_told_by_their_line(
    caches: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("0" * 32 + "\na dog barking\n")
    code, _, err = run(capsys, "remove", caches[0], "--ids", file)
    assert code == 3
    assert "line 2" in err
    assert run(capsys, "remove", caches[0], "--ids", tmp_path / "none")[0] == 2
    assert run(capsys, "remove", caches[0])[0] == 2


def test_caches_are_merged(
    caches: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out_path = tmp_path / "out"
    code, out, _ = run(capsys, "merge", out_path, *caches, "--dry-run")
    assert code == 0
    assert "nothing was written" in out
    code, out, _ = run(capsys, "merge", out_path, *caches)
    assert code == 0
    assert "10 of 20 from second, 10 there already" in out
    assert f"next: lqtse-cache index {out_path}" in out
    code, out, _ = run(capsys, "merge", out_path, *caches, "--json")
    assert json.loads(out)["already"] is True
    code, _, err = run(capsys, "merge", out_path, caches[1], caches[0])
    assert code == 2
    assert "Name a new folder" in err


def test_damage_is_repaired_and_its_price_told(
    caches: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = caches[0]
    code, out, _ = run(capsys, "repair", path)
    assert code == 0
    assert "nothing to repair" in out
    file = next((path / "data").iterdir())
    file.write_bytes(file.read_bytes()[:100])
    code, out, _ = run(capsys, "verify", path)
    assert code == 3
    assert f"next: lqtse-cache repair {path} --dry-run" in out
    code, out, _ = run(capsys, "repair", path, "--dry-run")
    assert code == 3
    assert f"next: lqtse-cache repair {path}\n" in out
    code, out, _ = run(capsys, "repair", path, "--json")
    record = json.loads(out)
    assert code == 0
    assert (record["lost"], record["waiting"], record["whole"]) == (0, 20, True)
    assert record["next_command"] == f"lqtse-cache embed {path}"
    assert run(capsys, "verify", path)[0] == 0
    for file in (path / "rejects").iterdir():
        file.write_bytes(b"")
    code, out, _ = run(capsys, "repair", path)
    assert code == 3
    assert "refused captions lost    " in out
    assert run(capsys, "verify", path)[0] == 0


def test_a_damaged_ledger_is_told(
    caches: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (caches[0] / "ledger.sqlite").write_bytes(b"x" * 5000)
    code, out, _ = run(capsys, "verify", caches[0])
    assert code == 3
    assert "fault: ledger.sqlite" in out
    code, out, _ = run(capsys, "repair", caches[0])
    assert code == 3
    assert "still wrong: ledger.sqlite" in out


def test_a_report_is_written(caches: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "report", caches[0], "--json")
    record = json.loads(out)
    assert (code, record["captions"]) == (0, 40)
    assert Path(record["page"]).read_text().startswith("<!doctype html>")
    code, _, err = run(capsys, "report", caches[0], "--manifest", "9")
    assert code == 3
    assert "no manifest of this number" in err


@pytest.mark.parametrize("name", ["remove", "compact", "merge", "repair", "report"])
def test_help_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    assert f"lqtse-cache {name} " in out.split("Examples:")[1]
