from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cache_store.errors import StorageError, UsageError
from pipeline.export import FORMATS, export_cache
from pipeline.export.output import check_output, whole_output
from tests.cache_store.builders import add_step
from tests.pipeline.cli.conftest import Powerless, powerless

__all__ = ["powerless"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_place_that_cannot_be_is_refused(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    with pytest.raises(UsageError, match=r"another ending: .*expected \.csv, found \.txt"):
        check_output(tmp_path / "a.txt", ".csv", cache)
    with pytest.raises(UsageError, match="found none"):
        check_output(tmp_path / "a", ".lance", cache)
    with pytest.raises(UsageError, match="no such folder"):
        check_output(tmp_path / "no" / "a.csv", ".csv", cache)
    for inside in (cache / "a.csv", tmp_path / "." / "cache" / "a.csv"):
        with pytest.raises(UsageError, match="lies in the cache"):
            check_output(inside, ".csv", cache)
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere")
    (tmp_path / "there.csv").write_text("mine")
    for taken in ("link.csv", "there.csv"):
        with pytest.raises(UsageError, match="the output exists") as caught:
            check_output(tmp_path / taken, ".csv", cache)
        assert caught.value.exit_code == 2
    assert (tmp_path / "there.csv").read_text() == "mine"
    check_output(tmp_path / "new.CSV", ".csv", cache)


@pytest.mark.parametrize("folder", [False, True])
def test_an_output_that_came_meanwhile_is_left_as_it_is(tmp_path: Path, folder: bool) -> None:
    output = tmp_path / "a.out"
    with pytest.raises(UsageError, match="the output exists"), whole_output(output) as tmp:
        if folder:
            tmp.mkdir()
            (tmp / "x").write_text("ours")
            output.mkdir()
        else:
            tmp.write_text("ours")
            output.write_text("theirs")
    assert names(tmp_path) == ["a.out"]
    assert output.is_dir() if folder else output.read_text() == "theirs"


def test_a_file_system_without_links_is_served_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    with whole_output(tmp_path / "a.csv") as tmp:
        tmp.write_text("x")
    assert (names(tmp_path), (tmp_path / "a.csv").read_text()) == (["a.csv"], "x")
    with pytest.raises(UsageError, match="exists"), whole_output(tmp_path / "a.csv") as tmp:
        tmp.write_text("y")
    assert (names(tmp_path), (tmp_path / "a.csv").read_text()) == (["a.csv"], "x")


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error), whole_output(tmp_path / "a.lance") as tmp:
            (tmp / "deep").mkdir(parents=True)
            (tmp / "deep" / "x").write_text("x")
            raise error
    with pytest.raises(StorageError, match="nothing was written"), whole_output(tmp_path / "a.csv"):
        pass
    assert names(tmp_path) == []


def test_a_place_without_rights_is_an_error_of_one_line(
    tmp_path: Path, powerless: Powerless
) -> None:
    tmp_path.chmod(0o755)
    with (
        powerless(),
        pytest.raises(StorageError, match="permission denied"),
        whole_output(tmp_path / "a.csv") as tmp,
    ):
        tmp.write_text("x")


@pytest.mark.parametrize("to", list(FORMATS))
def test_every_format_tells_a_missing_right_in_the_same_words(
    tmp_path: Path, powerless: Powerless, to: str
) -> None:
    if to == "lance":
        pytest.importorskip("lance")  # the one without rights may not read it
    add_step(tmp_path / "cache", 5)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    output = tmp_path / f"a{FORMATS[to].suffix}"
    with powerless(), pytest.raises(StorageError, match="write: permission denied"):
        export_cache(tmp_path / "cache", to, output)
    assert names(tmp_path) == ["cache"]


KILLED = """
import os, signal, sys
from contextlib import contextmanager
from pipeline.export import FORMATS, export_cache

@contextmanager
def progress(total):
    yield lambda rows: os.kill(os.getpid(), signal.SIGKILL)

export_cache(sys.argv[1], sys.argv[2], sys.argv[3], progress=progress)
"""


@pytest.mark.parametrize(("to", "name"), [("csv", "a.csv"), ("lance", "a.lance")])
def test_what_a_killed_export_left_goes_with_the_next(tmp_path: Path, to: str, name: str) -> None:
    add_step(tmp_path / "cache", 30)
    output = tmp_path / "out" / name
    output.parent.mkdir()
    other = output.parent / ".tmp-of-somebody-else.csv"
    other.write_text("x")
    words = [sys.executable, "-c", KILLED, str(tmp_path / "cache"), to, str(output)]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not output.exists()
    if to == "csv":
        assert len(names(output.parent)) == 2
    assert export_cache(tmp_path / "cache", to, output).rows == 30
    assert names(output.parent) == [other.name, name]
