"""What a stage and an engine are, so that neither needs to know the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from pipeline.progress import Tick

Shard = TypeVar("Shard")
Result = TypeVar("Result")
Shard_contra = TypeVar("Shard_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

ENGINES = ("local", "ray")


class Stage(Protocol[Shard_contra, Result_co]):
    """What is done to a shard; it is sent to the workers, so it holds settings and no models.

    A shard and its result are small (paths, hashes, counts): what is large is read from the file
    that a shard names, and written to one that its result names.

    Attributes:
        device: Where a worker computes: `cpu`, `cuda`, `cuda:N`.
        threads: CPU threads that a worker computes with.
        folders: What every worker has to see, on whatever machine it runs.
    """

    @property
    def device(self) -> str: ...

    @property
    def threads(self) -> int: ...

    @property
    def folders(self) -> tuple[str, ...]: ...

    def prepare(self) -> Callable[[Shard_contra, Tick], Result_co]:
        """Load what the work needs, once a worker, and return the work itself."""
        ...


class Engine(Protocol):
    """Where stages run; made by `open_engine`."""

    @property
    def name(self) -> str:
        """`local` or `ray`."""
        ...

    def device(self, wanted: str) -> str:
        """The device of a worker for `auto`, `cpu`, `cuda` or `cuda:N`.

        Raises:
            UsageError: No worker has it.
        """
        ...

    def home(self, device: str) -> str:
        """The device of this process, which looks at models but leaves the work to workers."""
        ...

    def room(self, device: str, threads: int) -> int | None:
        """How many workers there is room for; None where the caller knows better."""
        ...

    def map_shards(
        self,
        stage: Stage[Shard, Result],
        shards: Sequence[Shard],
        *,
        workers: int,
        tick: Tick,
        prepared: Callable[[Shard, Tick], Result] | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Run a stage over shards; yields each shard's number and result, in the order they finish.

        Args:
            stage: What to do.
            shards: What to do it to.
            workers: How many work at once, at most.
            tick: Told of the rows as they are finished.
            prepared: The stage's work where this process has it already and could do it itself.

        Raises:
            UsageError: Workers died.
            LqtseError: Whatever the stage raised.
        """
        ...


def unexpected(error: Exception) -> RuntimeError:
    """An error of no kind of ours, as it travels from a worker: its type and text in one line."""
    return RuntimeError(f"{type(error).__name__}: {error}")


def died(found: Any) -> dict[str, Any]:
    """How every engine says that a worker process died; the arguments of a `UsageError`."""
    return {
        "what": "a worker process died, most often for lack of memory",
        "found": found,
        "hint": "What was committed is kept: run again with fewer --workers "
        "or a smaller --batch-size",
    }
