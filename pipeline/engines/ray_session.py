"""Start a Ray for one run, or join the cluster that the user names; quiet, and gone afterwards.

A Ray of our own listens on the loopback interface only, sends no statistics, has no dashboard, and
keeps its files in a temporary folder; it ends with this process, however that ends.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cache_store.errors import (
    LqtseError,
    MismatchError,
    MissingDependencyError,
    UnreachableError,
    UsageError,
)
from pipeline.engines.ray_engine import RayEngine

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the default warns that it is going to change
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of answers that nobody waits for any more
}
_PRIVATE = {
    # Ray's switch between a node of a cluster and a Ray for this machine alone: "0" binds every
    # server of it to the loopback interface. Read when Ray is imported.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_worker_niceness": "0",  # by default its workers yield to everything else on the machine
}
_STORE_BYTES = 100 << 20  # Ray's least is 75 MiB; paths and counts are all that goes through it
_ANSWER_SECONDS = 10.0
_LONGEST_FOLDER = 40  # beyond, Ray's socket files have names that are too long for the system


@contextmanager
def ray_engine(address: str | None) -> Iterator[RayEngine]:
    """Connect to Ray; an application that is connected already keeps its connection.

    Args:
        address: A running cluster, `HOST:PORT` or `auto`; None starts a Ray of our own.

    Raises:
        MissingDependencyError, UsageError, UnreachableError, MismatchError: As `open_engine`.
    """
    if address is not None:
        _check_address(address)
    with _environment({**_QUIET, **({} if address else _PRIVATE)}):
        ray = _import_ray()
        if ray.is_initialized():
            yield RayEngine(ray, private=False)
            return
        if address is None:
            with _own_folder() as folder:
                yield from _connected(ray, None, _private_settings(folder))
        else:
            yield from _connected(ray, address, {"address": address})


def _connected(ray: Any, address: str | None, settings: dict[str, Any]) -> Iterator[RayEngine]:
    with _own_signals():
        try:
            _silence(ray)
            ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
        except KeyboardInterrupt:
            ray.shutdown()
            raise
        except Exception as error:
            ray.shutdown()
            raise _cannot_connect(address, error) from error
    try:
        yield RayEngine(ray, private=address is None)
    finally:
        ray.shutdown()


def _private_settings(folder: Path) -> dict[str, Any]:
    return {
        "address": "local",
        "include_dashboard": False,
        # Ray starts as many processes ahead of need; ours are counted by us.
        "num_cpus": 1,
        "object_store_memory": _STORE_BYTES,
        "_temp_dir": str(folder),
    }


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "Ray is not installed", hint="pip install 'lqtse[ray]'"
        ) from error
    return ray


def _silence(ray: Any) -> None:
    """Keep Ray's news of dead workers off standard output, which is for results.

    `log_to_driver` does not reach it; this switch, which Ray's debugger uses, does. A version
    without it is only louder.
    """
    with suppress(AttributeError):
        if ray._private.worker._worker_logs_enabled:
            ray._private.worker._worker_logs_enabled = False


def _check_address(address: str) -> None:
    """Find out in seconds what Ray would try for a minute, with its own log on the terminal."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not (colon and host and port.isdigit()):
        raise UsageError(
            "not the address of a Ray cluster", expected="HOST:PORT or auto", found=repr(address)
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _cannot_connect(address, error) from error


def _cannot_connect(address: str | None, error: Exception) -> LqtseError:
    found = " ".join(str(error).split())[:200] or type(error).__name__
    if "version mismatch" in found.lower():
        return MismatchError("the cluster runs another Ray or Python", where=address, found=found)
    if address is None:
        return UnreachableError("cannot start Ray on this machine", found=found)
    return UnreachableError(
        "no Ray cluster answers, or this machine is not part of it",
        where=address,
        found=found,
        hint="Start one with `ray start --head`, join this machine to it with "
        "`ray start --address HOST:PORT`, or leave --address out",
    )


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A temporary folder for Ray's logs and sockets, removed at the end."""
    place = tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="lqtse-ray-", dir=_short(place)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _short(place: str) -> str:
    return place if len(place) <= _LONGEST_FOLDER else "/tmp"


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep our handlers: Ray puts its own for SIGTERM, which ends the process without cleaning."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables that are not set, and take them away again."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            with suppress(KeyError):
                del os.environ[name]
