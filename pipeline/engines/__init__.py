"""Where the stages run: on this machine, or on a Ray cluster.

    base.py         what a stage and an engine are
    local.py        worker processes of this machine
    ray_engine.py   the same work by Ray actors, on one machine or many
    ray_session.py  start a Ray of our own, or join the cluster that the user names
    ray_desk.py     what runs inside an actor

The shard is the unit of work. Its result depends on nothing but the shard and the stage, so the
engine and the number of workers may change between runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cache_store.errors import UsageError
from pipeline.engines.base import ENGINES, Engine, Stage
from pipeline.engines.local import LocalEngine, available_cores, map_shards

__all__ = [
    "ENGINES",
    "Engine",
    "LocalEngine",
    "Stage",
    "available_cores",
    "map_shards",
    "open_engine",
]


@contextmanager
def open_engine(name: str = "local", address: str | None = None) -> Iterator[Engine]:
    """Open an engine; what it started is gone at the end.

    Args:
        name: `local` or `ray`.
        address: A running Ray cluster, `HOST:PORT` or `auto`; None starts one for this run, on
            this machine and its loopback interface only.

    Raises:
        UsageError: For another name, or an address without Ray.
        MissingDependencyError: Ray is not installed.
        UnreachableError: No cluster answers at the address.
        MismatchError: The cluster runs another version of Ray or Python.
    """
    if name not in ENGINES:
        raise UsageError("no such engine", expected=" or ".join(ENGINES), found=repr(name))
    if name == "local":
        if address is not None:
            raise UsageError("an address belongs to a cluster", hint="Say --engine ray, too")
        yield LocalEngine()
        return
    from pipeline.engines.ray_session import ray_engine

    with ray_engine(address) as engine:
        yield engine
