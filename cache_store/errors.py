"""Every error that a user of lqtse can meet, in one tree.

    LqtseError                    exit 1   (never raised itself)
    ├── UsageError                exit 2   a flag, a path or a configuration that cannot work
    │   ├── ConfigError                    several faults of one configuration, told together
    │   └── MissingDependencyError         an optional package is not installed
    ├── DataError                 exit 3   the input or the cache is not what it should be
    │   ├── EmptyInputError                nothing to work on
    │   ├── DamagedError                   a file is missing, cut, or does not match its hash
    │   ├── AudioError                     one recording cannot be decoded or used
    │   ├── UsedUpError                    a plan gives too few captions that can be kept
    │   └── StorageError                   disk full, read-only, or not permitted
    ├── MismatchError             exit 4   two good things that do not belong together
    │   ├── SpaceMismatchError             embeddings of different models
    │   ├── StaleIndexError                an index older than the data
    │   ├── VersionMismatchError           a format that this version cannot read
    │   ├── ChangedPlanError               a rerun with another configuration
    │   └── LeaseHeldError                 another process writes to the same cache
    └── RemoteError               exit 5   the other side failed
        ├── UnreachableError               no answer at all
        ├── AuthenticationError            the key was refused
        ├── RateLimitError                 asked to slow down, and slowing down did not help
        └── BadAnswerError                 it answered, but not what was asked

A message is one line: what was wrong, where, what was expected and what was found, and the next
command to run. `prompts` has one error of its own, a ValueError, since it knows none of these.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_DATA = 3
EXIT_MISMATCH = 4
EXIT_REMOTE = 5
EXIT_INTERRUPTED = 130


class LqtseError(Exception):
    """The root of the tree.

    Args:
        what: What was wrong, as a short clause without a full stop.
        where: The path, row or address concerned.
        expected: What would have been right.
        found: What was there instead.
        hint: The next command to run, or the next thing to do.
    """

    exit_code = EXIT_UNEXPECTED

    def __init__(
        self,
        what: str,
        *,
        where: str | Path | None = None,
        expected: object = None,
        found: object = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.where = str(where) if where is not None else None
        self.expected = expected
        self.found = found
        self.hint = hint
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole error in one line."""
        text = self.what if self.where is None else f"{self.what}: {self.where}"
        details = [
            f"{name} {value}"
            for name, value in (("expected", self.expected), ("found", self.found))
            if value is not None
        ]
        if details:
            text += f" ({', '.join(details)})"
        if self.hint:
            text += f". {self.hint}"
        return " ".join(text.split())


class UsageError(LqtseError):
    """A flag, a path or a configuration that cannot work."""

    exit_code = EXIT_USAGE


class ConfigError(UsageError):
    """All faults of one configuration, told together so that one run shows them all.

    Args:
        faults: One clause a fault: "<field> must be ..., got ...".
    """

    def __init__(self, faults: Sequence[str], *, where: str | Path | None = None) -> None:
        self.faults = tuple(faults)
        many = f"{len(self.faults)} settings cannot work" if len(self.faults) > 1 else "bad setting"
        super().__init__(f"{many}: {'; '.join(self.faults)}", where=where)


class MissingDependencyError(UsageError):
    """An optional package is not installed; the hint is the line that installs it."""


class DataError(LqtseError):
    """The input or the cache is not what it should be."""

    exit_code = EXIT_DATA


class EmptyInputError(DataError):
    """There is nothing to work on."""


class DamagedError(DataError):
    """A file is missing, cut, or does not match its hash."""


class AudioError(DataError):
    """One recording cannot be decoded or used."""


class UsedUpError(DataError):
    """A plan gives too few captions that can be kept: a model that cannot, or has no more."""


class StorageError(DataError):
    """The disk is full, or the place cannot be written or read."""


class MismatchError(LqtseError):
    """Two good things that do not belong together."""

    exit_code = EXIT_MISMATCH


class SpaceMismatchError(MismatchError):
    """Embeddings of different models were about to meet."""


class StaleIndexError(MismatchError):
    """An index was built from other data than the manifest names."""


class VersionMismatchError(MismatchError):
    """A format that this version cannot read."""


class ChangedPlanError(MismatchError):
    """A rerun whose configuration is not the one that the work began with."""


class LeaseHeldError(MismatchError):
    """Another process writes to the same cache."""


class RemoteError(LqtseError):
    """The other side failed."""

    exit_code = EXIT_REMOTE


class UnreachableError(RemoteError):
    """No answer at all."""


class AuthenticationError(RemoteError):
    """The key was refused."""


class RateLimitError(RemoteError):
    """The server asked to slow down, and slowing down did not help."""


class BadAnswerError(RemoteError):
    """The server answered, but not what was asked."""


_STORAGE_FAULTS = {
    errno.ENOSPC: "cannot write: the disk is full",
    errno.EDQUOT: "cannot write: the disk quota is used up",
    errno.EFBIG: "cannot write: the file would be larger than allowed",
    errno.EROFS: "cannot write: the file system is read-only",
    errno.EACCES: "cannot read or write: permission denied",
    errno.EPERM: "cannot read or write: permission denied",
    errno.EIO: "cannot read or write: the disk fails (input/output error)",
}


@contextmanager
def storage_errors(path: str | Path) -> Iterator[None]:
    """Turn what the operating system says of `path` into a `StorageError` of one line.

    Raises:
        StorageError: For a full disk, a quota, a read-only file system, a missing permission or a
            disk that fails; every other `OSError` passes unchanged.
    """
    try:
        yield
    except OSError as error:
        fault = _STORAGE_FAULTS.get(error.errno or 0)
        if fault is None:
            raise
        raise StorageError(
            fault,
            where=error.filename or path,
            hint="Nothing that was committed is lost: make room or choose another place, "
            "then run the same command again",
        ) from error
