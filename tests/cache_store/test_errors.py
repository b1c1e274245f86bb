"""The error tree: one line each, the right exit code, and the drawing tells the truth."""

from __future__ import annotations

import errno
import re

import pytest

from cache_store import errors
from cache_store.errors import ConfigError, DataError, LqtseError, StorageError, storage_errors


def every_error() -> list[type[LqtseError]]:
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    return [kind for kind in kinds if issubclass(kind, LqtseError)]


def test_message_is_one_line_with_what_where_expected_found_and_hint() -> None:
    error = DataError(
        "wrong width", where="a.parquet\nrow 3", expected="512", found=64, hint="Run: x verify"
    )
    assert str(error) == "wrong width: a.parquet row 3 (expected 512, found 64). Run: x verify"
    assert error.exit_code == 3


def test_drawing_names_every_error_under_its_parent_with_its_exit_code() -> None:
    drawing = errors.__doc__ or ""
    drawn = re.findall(r"^    ([│ ├└─]*)(\w+Error)\b(?:\s+exit (\d+))?", drawing, re.MULTILINE)
    assert {name for _, name, _ in drawn} == {kind.__name__ for kind in every_error()}
    parents: list[str] = []
    for lines, name, code in drawn:
        depth = len(lines) // 4
        parents[depth:] = [name]
        kind = getattr(errors, name)
        if depth:
            assert kind.__base__.__name__ == parents[depth - 1]
        if code:
            assert kind.exit_code == int(code)


def test_config_error_tells_all_faults_together() -> None:
    error = ConfigError(["steps must be positive, got 0", "k must be positive, got -1"])
    assert "2 settings" in error.message
    assert "steps must be positive, got 0; k must be positive, got -1" in error.message
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.ENOSPC, "cannot write"),
        (errno.EROFS, "cannot write"),
        (errno.EDQUOT, "cannot write"),
        (errno.EFBIG, "cannot write"),
        (errno.EACCES, "cannot read or write"),
        (errno.EIO, "cannot read or write"),
    ],
)
def test_storage_faults_become_one_line_with_the_path(number: int, what: str) -> None:
    with pytest.raises(StorageError, match=rf"^{what}: .*: /some/file"), storage_errors("x"):
        raise OSError(number, "as the system says", "/some/file")


def test_other_system_errors_pass_unchanged() -> None:
    with pytest.raises(FileNotFoundError), storage_errors("x"):
        raise FileNotFoundError(errno.ENOENT, "gone", "/some/file")
