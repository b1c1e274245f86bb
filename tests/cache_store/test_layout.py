from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.errors import DataError, UsageError
from cache_store.layout import FOLDERS, check_folder


def test_new_and_empty_folders_may_become_caches(tmp_path: Path) -> None:
    check_folder(tmp_path, create=False)
    check_folder(tmp_path / "new", create=True)
    with pytest.raises(DataError, match=r"no such cache.*lqtse-cache generate"):
        check_folder(tmp_path / "new", create=False)


@pytest.mark.parametrize("name", [*FOLDERS, "report", "ledger.sqlite", ".lease"])
def test_work_that_began_may_go_on(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    check_folder(tmp_path, create=True)


def test_a_cache_may_hold_what_a_user_puts_there(tmp_path: Path) -> None:
    (tmp_path / "manifest").mkdir()
    (tmp_path / "notes.txt").touch()
    check_folder(tmp_path, create=True)


def test_other_folders_and_files_may_not(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match=r"something else than a cache.*thesis\.tex"):
        check_folder(tmp_path, create=True)
    with pytest.raises(UsageError, match="a cache is a folder"):
        check_folder(tmp_path / "thesis.tex", create=True)
