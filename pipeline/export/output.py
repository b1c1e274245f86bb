"""An output that appears whole or not at all, and never replaces what is there.

It is written beside its place under a temporary name, which says who writes it, so that the next
export to the same place clears away what a killed one left.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cache_store.errors import StorageError, UsageError, storage_errors
from cache_store.files import DISK, TMP_PREFIX


def check_output(output: Path, suffix: str, cache: Path) -> None:
    """Check that an export may be written to `output`.

    Raises:
        UsageError: If it has another suffix, is there already, has no folder, or lies in the cache.
    """
    if output.suffix.lower() != suffix:
        raise UsageError(
            "the output has another ending",
            where=output,
            expected=suffix,
            found=output.suffix or "none",
        )
    if os.path.lexists(output):
        raise _taken(output)
    if not output.parent.is_dir():
        raise UsageError("no such folder for the output", where=output.parent)
    if cache.resolve() in (output.parent.resolve(), *output.parent.resolve().parents):
        raise UsageError(
            "the output lies in the cache", where=output, hint="Name a place outside of it"
        )


@contextmanager
def whole_output(output: Path) -> Iterator[Path]:
    """Yield a temporary path; what is written there becomes `output` at the end.

    Raises:
        UsageError: If something has come to be at `output` meanwhile; it is left as it is.
        StorageError: If it cannot be written.
    """
    with storage_errors(output.parent):
        _clear(output)
        tmp = output.with_name(f"{_owned(output)}{os.getpid()}{output.suffix}")
        try:
            yield tmp
            _sync(tmp)
            _publish(tmp, output)
        finally:
            _remove(tmp)


def _publish(tmp: Path, output: Path) -> None:
    if tmp.is_dir():
        # A rename puts a folder in the place of an empty one, and of nothing else.
        if os.path.lexists(output):
            raise _taken(output)
        tmp.rename(output)
    else:
        try:
            os.link(tmp, output)
        except FileExistsError as error:
            raise _taken(output) from error
        except OSError:  # a file system without links, such as a memory stick's
            if os.path.lexists(output):
                raise _taken(output) from None
            tmp.rename(output)
    DISK.sync_folder(output.parent)


def _sync(tmp: Path) -> None:
    if not tmp.exists():
        raise StorageError("nothing was written", where=tmp)
    if tmp.is_file():
        DISK.sync_file(tmp)
        return
    for folder, _, names in os.walk(tmp, topdown=False):
        for name in names:
            DISK.sync_file(Path(folder) / name)
        DISK.sync_folder(Path(folder))


def _owned(output: Path) -> str:
    """How the temporary names begin that exports of this machine to this place have."""
    return f"{TMP_PREFIX}{output.stem}-{socket.gethostname()}-"


def _clear(output: Path) -> None:
    """Remove what dead exports to the same place left."""
    import psutil

    begin = _owned(output)
    for path in output.parent.glob(f"{TMP_PREFIX}*{output.suffix}"):
        writer = path.name[len(begin) : -len(output.suffix)]
        if (
            path.name.startswith(begin)
            and writer.isdecimal()
            and not psutil.pid_exists(int(writer))
        ):
            _remove(path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _taken(output: Path) -> UsageError:
    return UsageError(
        "the output exists",
        where=output,
        hint="Nothing is replaced: name another place, or remove it",
    )
