"""What keeps mapped files safe: their bytes are hashed once, and their length is watched.

A file that is mapped is also read and hashed, once, before what it holds is answered.

Opening checks a mapped file's size only, so that it stays cheap; but a flipped bit in it would be
another vector, in silence. The first search reads the whole matrix anyway: its hash is computed
meanwhile in a thread, some half a second a gigabyte, most of it while PyTorch is imported.
"""

from __future__ import annotations

from pathlib import Path
from threading import Thread

from cache_store.entries import FileEntry, check_content
from cache_store.errors import DamagedError, LqtseError


class Guard:
    """Checks one file's bytes beside other work.

    Args:
        folder: The cache.
        entry: The file, as the manifest names it; None if there is nothing to check.
    """

    def __init__(self, folder: Path, entry: FileEntry | None) -> None:
        self._folder = folder
        self._entry = entry
        self._thread: Thread | None = None
        self._error: LqtseError | None = None

    def start(self) -> None:
        """Begin, unless it has begun before."""
        if self._entry is None or self._thread is not None:
            return
        self._thread = Thread(target=self._check, args=(self._entry,), daemon=True)
        self._thread.start()

    def settle(self) -> None:
        """Wait for the end; errors as `tell`."""
        self.start()
        if self._thread is not None:
            self._thread.join()
        self.tell()

    def tell(self) -> None:
        """Raise what is known by now.

        Raises:
            DamagedError: If the file is not what was committed.
            StorageError: If it cannot be read.
        """
        if self._error is not None:
            raise self._error

    def _check(self, entry: FileEntry) -> None:
        try:
            check_content(self._folder, entry)
        except LqtseError as error:
            self._error = error


def check_length(path: Path, size: int) -> None:
    """Check that a file, if it is still there, has its length; a few microseconds.

    The system kills a process that touches what was cut off a mapped file. One that was removed
    stays whole for those who have it mapped.

    Raises:
        DamagedError: If it is longer or shorter.
    """
    try:
        found = path.stat().st_size
    except OSError:
        return
    if found != size:
        raise DamagedError(
            "a file of the cache has changed while it was in use",
            where=path,
            expected=f"{size} bytes",
            found=found,
            hint="Open the cache anew; lqtse-cache verify tells what is damaged",
        )
