"""One writer at a time: a lease that names its holder, and tells a dead holder from a live one.

On the holder's own machine the process table decides: a process of that id and start time lives or
it does not, so a killed writer never blocks the next. From another machine (or another container,
whose process table we cannot see) only the heartbeat speaks: the file's modification time, compared
with that of a file made just now in the same folder, so that clocks need not agree. Since a clock
can jump, a holder that seems silent is watched for some heartbeats before it is called dead. The
lease keeps writers from wasted work; that nothing is overwritten is promised by the manifest's
exclusive link.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cache_store.errors import LeaseHeldError
from cache_store.files import TMP_PREFIX

LEASE_NAME = ".lease"
HEARTBEAT_SECONDS = 20.0
SILENCE_SECONDS = 300.0  # a holder on another machine that was silent for so long may be dead
WATCHED_BEATS = 2.5  # and is, if it is then silent for so many heartbeats more
_GUARD_NAME = ".lease.lock"


@dataclass(frozen=True)
class Holder:
    """Who holds the lease.

    Attributes:
        host: The machine's name.
        namespace: The process table that `pid` belongs to, "" where the system has only one.
        pid: The process.
        started: When the process began, by `_start_time`: process ids are used again.
        token: Tells two leases of one process apart.
    """

    host: str
    namespace: str
    pid: int
    started: float
    token: str

    @classmethod
    def of_this_process(cls) -> Holder:
        """Return a new holder: this process."""
        pid = os.getpid()
        started = _start_time(pid)
        return cls(socket.gethostname(), _namespace(), pid, started or 0.0, uuid.uuid4().hex)


class Lease:
    """The right to write to one cache, from `acquire` to `release`.

    Args:
        folder: The cache, which must exist.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEASE_NAME
        self.holder = Holder.of_this_process()
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="lqtse-lease", daemon=True)

    def acquire(self) -> Holder | None:
        """Take the lease; return the dead holder that it was taken from, if there was one.

        Raises:
            LeaseHeldError: If a live process holds it; host and process are named.
        """
        dead = _watch(self.path)  # before the guard: others shall not wait with us
        with _guarded(self.path.parent):
            previous = _read(self.path)
            if previous is not None and previous != dead and _alive(previous, self.path):
                raise LeaseHeldError(
                    "another process writes to this cache",
                    where=self.path.parent,
                    found=f"process {previous.pid} on {previous.host}",
                    hint="Wait until it ends, or stop it"
                    if _same_table(previous)
                    else f"If it is dead, the lease is free {SILENCE_SECONDS:.0f} s after its end",
                )
            tmp = self.path.with_name(f"{TMP_PREFIX}{self.holder.token}")
            tmp.write_text(json.dumps(asdict(self.holder)), encoding="utf-8")
            tmp.replace(self.path)
        self._heart.start()
        return previous

    def check(self) -> None:
        """Raise LeaseHeldError if the lease went to somebody else, who thought us dead."""
        holder = _read(self.path)
        if holder != self.holder:
            by = f"process {holder.pid} on {holder.host}" if holder else "nobody"
            raise LeaseHeldError(
                "lost the right to write to this cache",
                where=self.path.parent,
                found=f"now held by {by}",
                hint="What was committed is kept: run the same command again",
            )

    def release(self) -> None:
        """Give the lease back; harmless if it went to somebody else."""
        self._stop.set()
        if self._heart.is_alive():
            self._heart.join()
        with contextlib.suppress(OSError), _guarded(self.path.parent):
            if _read(self.path) == self.holder:
                self.path.unlink()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            # A missed beat is no fault yet; `check` tells before anything is published.
            with contextlib.suppress(OSError):
                if _read(self.path) == self.holder:
                    os.utime(self.path)


def live_holder(folder: Path) -> Holder | None:
    """Who writes to the cache in `folder`, None for nobody; only looks, and touches nothing.

    A holder on another machine counts as alive: only watching it could tell.
    """
    holder = _read(folder / LEASE_NAME)
    if holder is None or not _same_table(holder) or _alive(holder, folder / LEASE_NAME):
        return holder
    return None


def _read(path: Path) -> Holder | None:
    """Return the holder that the file names; None if there is none, or no whole one."""
    try:
        return Holder(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _alive(holder: Holder, path: Path) -> bool:
    if _same_table(holder):
        started = _start_time(holder.pid)
        return started is not None and abs(started - holder.started) < 0.5
    # Also when the silence says otherwise: only `_watch` calls somebody dead whom we cannot see.
    return True


def _watch(path: Path) -> Holder | None:
    """Return the holder if it is on another machine and dead, by all that can be seen; or None."""
    holder = _read(path)
    if holder is None or _same_table(holder) or abs(_silence(path)) < SILENCE_SECONDS:
        return None
    last = _beat_of(path)
    end = time.monotonic() + WATCHED_BEATS * HEARTBEAT_SECONDS
    while time.monotonic() < end:
        time.sleep(HEARTBEAT_SECONDS / 20)
        if _beat_of(path) != last or _read(path) != holder:
            return None
    return holder


def _beat_of(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _same_table(holder: Holder) -> bool:
    """Whether the holder's process id means something in our process table."""
    return (holder.host, holder.namespace) == (socket.gethostname(), _namespace())


def _silence(path: Path) -> float:
    """Return the seconds since the last heartbeat, by the clock of the disk that holds it.

    Below zero if that clock was set back meanwhile.
    """
    probe = path.with_name(f"{TMP_PREFIX}{uuid.uuid4().hex}")
    probe.touch()
    try:
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:  # swept or released at this moment: somebody is alive
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


def _start_time(pid: int) -> float | None:
    """Return when a process began, None if there is no such process or it has ended.

    Where /proc has it, in clock ticks since the machine started: unlike a time of day, that does
    not move when somebody sets the clock.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        with contextlib.suppress(OSError):
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return float(after_name[19])
        return float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def _namespace() -> str:
    """Return what tells process tables apart that machines of one name may have.

    The first table of every Linux machine goes by the same number, so the boot counts as well.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


@contextlib.contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    """Let one process at a time look and decide; the kernel frees the lock of a dead one."""
    descriptor = os.open(folder / _GUARD_NAME, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
