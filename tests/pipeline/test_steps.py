"""A walk prints each command as typed, runs it once, and ends with its command's exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.errors import DataError
from pipeline.steps import StepError, Walk, need_files


def write(name: str) -> tuple[str, str, str]:
    return "python", "-c", f"open({name!r}, 'a').write('once ')"


def test_commands_run_in_the_folder_and_are_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    walk = Walk(tmp_path / "w")
    walk.heading("A file")
    walk.run(*write("a b"))
    assert (tmp_path / "w" / "a b").read_text() == "once "
    said = capfd.readouterr().out
    assert "$ cd " in said
    assert "# A file" in said
    assert "$ python -c 'open(" in said
    assert walk.seconds > 0


def test_a_finished_step_is_not_run_again_and_a_failed_one_is(tmp_path: Path) -> None:
    first = Walk(tmp_path / "w")
    first.run(*write("a"))
    with pytest.raises(StepError) as failure:
        first.run("python", "-c", "raise SystemExit(4)")
    assert failure.value.exit_code == 4
    second = Walk(tmp_path / "w")
    second.run(*write("a"))
    assert (tmp_path / "w" / "a").read_text() == "once "
    with pytest.raises(StepError):
        second.run("python", "-c", "raise SystemExit(4)")


def test_an_interrupted_step_interrupts_the_walk(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Walk(tmp_path / "w").run("python", "-c", "raise SystemExit(130)")


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="holds other files"):
        Walk(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        Walk(tmp_path / "thesis.tex")


def test_a_damaged_memory_is_told_in_one_line(tmp_path: Path) -> None:
    Walk(tmp_path / "w")
    (tmp_path / "w" / "steps.json").write_text("[1")
    with pytest.raises(DataError, match="cannot read which steps are done"):
        Walk(tmp_path / "w")


def test_data_that_is_missing_is_told_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "audio.parquet").touch()
    need_files(tmp_path, ("audio.parquet",), "See the README")
    with pytest.raises(DataError, match=r"missing: .*text\.parquet\. See the README"):
        need_files(tmp_path, ("audio.parquet", "text.parquet"), "See the README")
