"""Run a stage over shards by Ray actors: one worker an actor, its model loaded once.

The driver plans, hands each free actor one shard by its path, and takes the result, which is small.
So one shard an actor is under way, and nothing large goes through Ray's object store. An actor that
dies, alone or with its machine, is replaced and its shard begun anew, up to `ATTEMPTS` times a
shard; what other shards have done stays.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cache_store.console import note, warn
from cache_store.errors import LqtseError, MismatchError, UsageError
from pipeline.engines.base import Result, Shard, Stage, died
from pipeline.engines.local import available_cores
from pipeline.engines.ray_desk import Desk, versions
from pipeline.progress import Tick

ATTEMPTS = 3  # of one shard: one that kills three workers would kill the next, too
PATIENCE_SECONDS = 60.0  # without a word from any worker, before the user is told


class RayEngine:
    """A Ray that this process is connected to; see `pipeline.engines.base.Engine`.

    Args:
        ray: The module.
        private: Whether that Ray is on this machine and for this run alone.
    """

    name = "ray"

    def __init__(self, ray: Any, private: bool) -> None:
        self._ray = ray
        self._private = private

    def device(self, wanted: str) -> str:
        """The device of a worker: where there are GPUs, `auto` is one of them."""
        gpus = self._ray.cluster_resources().get("GPU", 0)
        if wanted == "auto":
            return "cuda" if gpus else "cpu"
        if wanted.startswith("cuda:"):
            raise UsageError("Ray itself hands out the GPUs", expected="cuda", found=wanted)
        if wanted == "cuda" and not gpus:
            raise UsageError(
                "no machine of this Ray cluster has a GPU", expected="auto or cpu", found=wanted
            )
        return wanted

    def home(self, device: str) -> str:
        """The CPU: the GPUs are the workers'."""
        return "cpu"

    def room(self, device: str, threads: int) -> int:
        """As many as have a GPU, or `threads` cores, to themselves."""
        resources = self._ray.cluster_resources()
        if device != "cpu":
            return max(1, int(resources.get("GPU", 0)))
        # Our own Ray counts no cores: its workers are placed by us.
        cores = available_cores() if self._private else int(resources.get("CPU", 0))
        return max(1, cores // threads)

    def map_shards(
        self,
        stage: Stage[Shard, Result],
        shards: Sequence[Shard],
        *,
        workers: int,
        tick: Tick,
        prepared: Callable[[Shard, Tick], Result] | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Run a stage over shards; `prepared` is not used, since the driver does no work."""
        pool = _Pool(self._ray, self._actor(stage), stage, shards, tick)
        try:
            for _ in range(min(workers, len(shards))):
                pool.hire()
            while pool.busy:
                yield from pool.step()
        finally:
            pool.close()

    def _actor(self, stage: Stage[Any, Any]) -> Any:
        gpus = 0 if stage.device == "cpu" else 1
        cores = 0 if self._private or gpus else stage.threads
        # Spread over the machines: what is scarce is memory and decoding, not the way between them.
        return self._ray.remote(Desk).options(
            num_cpus=cores, num_gpus=gpus, scheduling_strategy="SPREAD"
        )


@dataclass
class _Worker:
    actor: Any
    shard: int
    hello: Any  # the answer to come, None once it was read
    rows: int = 0  # of the shard, told by this worker
    place: str = "no word from it yet"


class _Pool:
    """The workers of one map; `busy` holds each by the answer that it owes."""

    def __init__(
        self, ray: Any, actor: Any, stage: Stage[Any, Any], shards: Sequence[Any], tick: Tick
    ) -> None:
        self.busy: dict[Any, _Worker] = {}
        self._ray, self._actor, self._stage, self._shards = ray, actor, stage, shards
        self._waiting = deque(range(len(shards)))
        self._deaths: Counter[int] = Counter()
        self._told: Counter[int] = Counter()
        self._tick = tick
        self._heard = False

    def hire(self) -> None:
        """Start a worker on the next shard."""
        actor = self._actor.remote(self._stage)
        worker = _Worker(actor, self._waiting.popleft(), actor.hello.remote())
        self._ask(worker, self._shards[worker.shard])

    def step(self) -> Iterator[tuple[int, Any]]:
        """Wait for one answer and act on it; yields the shard that it finished, if it did."""
        ready, _ = self._ray.wait(list(self.busy), num_returns=1, timeout=PATIENCE_SECONDS)
        if not ready:
            if not self._heard:
                note("waiting for room on the Ray cluster: no worker could be started yet")
            return
        worker = self.busy.pop(ready[0])
        try:
            if worker.hello is not None:
                worker.place, found = self._ray.get(worker.hello)
                worker.hello, self._heard = None, True
                _check_versions(worker.place, found)
            rows, kind, value = self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:
            self._replace(worker, error)
            return
        self._count(worker, rows)
        if kind == "":
            self._ask(worker)
        elif kind == "fault":
            raise value
        else:
            done = worker.shard
            if self._waiting:
                worker.shard, worker.rows = self._waiting.popleft(), 0
                self._ask(worker, self._shards[worker.shard])
            else:
                self._end(worker)
            yield done, value

    def close(self) -> None:
        """End every worker at once."""
        for worker in self.busy.values():
            self._end(worker)
        self.busy.clear()

    def _ask(self, worker: _Worker, *shard: Any) -> None:
        self.busy[worker.actor.news.remote(*shard)] = worker

    def _end(self, worker: _Worker) -> None:
        with suppress(Exception):  # it may be dead, or its cluster may
            self._ray.kill(worker.actor)

    def _count(self, worker: _Worker, rows: int) -> None:
        """Tell of rows once, also where a shard is begun anew."""
        worker.rows += rows
        new = worker.rows - self._told[worker.shard]
        if new > 0:
            self._told[worker.shard] += new
            self._tick(new)

    def _replace(self, worker: _Worker, error: Exception) -> None:
        self._end(worker)
        self._deaths[worker.shard] += 1
        reason = _reason(error)
        if getattr(error, "actor_init_failed", False):
            raise UsageError(
                "a worker cannot start on the Ray cluster",
                found=reason,
                hint="Every machine needs the same lqtse as this one: pip install 'lqtse[ray]'",
            ) from None
        if self._deaths[worker.shard] >= ATTEMPTS:
            raise UsageError(**died(f"{ATTEMPTS} workers on one shard, the last: {reason}"))
        warn(f"a worker died ({worker.place}); another one begins its shard anew")
        self._waiting.appendleft(worker.shard)
        self.hire()


def _check_versions(place: str, found: dict[str, str]) -> None:
    ours = versions()
    other = [name for name in ours if found.get(name) != ours[name]]
    if other:
        raise MismatchError(
            "a machine of the Ray cluster has other versions than this one",
            where=place,
            expected=", ".join(f"{name} {ours[name]}" for name in other),
            found=", ".join(f"{name} {found.get(name)}" for name in other),
            hint="Rows could differ between machines: install the same versions on all of them",
        )


def _reason(error: Exception) -> str:
    """What Ray says of it, without the traceback that it carries along."""
    if isinstance(error, LqtseError):
        return error.message
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = next((line for line in reversed(lines) if "Error" in line), lines[0] if lines else "")
    return f"{type(error).__name__}: {text}"[:300]
