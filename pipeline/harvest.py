"""From results to the captions of a cache: judge, deduplicate, write shards, remember the place.

Results come in plan order, so what is kept is a function of the plan, the answers and what the
cache held before. Accepted captions wait for a shard to fill; `publish` writes what waits and says
in the manifest's provenance where the plan goes on. A request without an answer, and an answer that
is not what was asked, is remembered in the ledger as well, for `retry`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.basket import SHARD_ROWS, Basket
from pipeline.llm.source import Result, Unanswered
from pipeline.standing import RETRY_STEP, STEP, plan_key, standing_of

if TYPE_CHECKING:
    from cache_store.writer import CacheWriter
    from pipeline.ledger import Ledger
    from prompts.plan import Plan


class Harvest:
    """What one run accepts and refuses.

    Args:
        writer: The cache, open for writing.
        ledger: Its ledger, opened for the plan.
        plan: What is asked.
        describe: The backend's settings, for the provenance.
        shard_rows: Captions a file, at most.

    Attributes:
        standing: How far the plan has come.
    """

    step = STEP

    def __init__(
        self,
        writer: CacheWriter,
        ledger: Ledger,
        plan: Plan,
        describe: Callable[[], Mapping[str, Any]],
        *,
        shard_rows: int = SHARD_ROWS,
    ) -> None:
        self._writer = writer
        self._ledger = ledger
        self._plan = plan
        self._key = plan_key(plan)
        self._describe = describe
        self._earlier_steps = writer.current.provenance
        self._places: list[tuple[int, str, str]] = []
        self._basket = Basket(writer, shard_rows)
        self.standing = standing_of(writer.manifest, self._key)
        self._published = self.standing
        ledger.failures.drop_void(self.standing)

    def prepare(self) -> None:
        """Read what the cache holds: it may take seconds, in which no answer could be taken."""
        self._basket.prepare()

    @property
    def kept(self) -> int:
        """Captions accepted by this run."""
        return self._basket.kept

    @property
    def rejected(self) -> Counter[str]:
        """Captions refused by this run, by reason."""
        return self._basket.rejected

    @property
    def unanswered(self) -> Counter[str]:
        """Requests of this run that got no answer, by reason."""
        return self._basket.unanswered

    @property
    def full(self) -> bool:
        """Whether a shard's worth of rows waits."""
        return self._basket.full

    def take(self, result: Result, wanted: int) -> int:
        """Judge the captions of the next answer, or note that there is none.

        Args:
            result: The result of request `standing.request`.
            wanted: Captions that the plan shall have; judging stops there.

        Returns:
            Captions kept.
        """
        request, now = result.request, self.standing
        after = replace(now, request=request.index + 1, piece=0)
        if isinstance(result, Unanswered):
            self._note(request.index, request.id, self._basket.miss(result))
            self.standing = after
            return 0
        judged = self._basket.judge(result, piece=now.piece, most=wanted - now.kept)
        if judged.done and judged.fault:
            self._note(request.index, request.id, judged.fault)
        if not judged.done:
            after = replace(now, request=request.index, piece=judged.piece)
        self.standing = replace(after, kept=now.kept + judged.kept)
        return judged.kept

    def publish(self, counts: Mapping[str, Any]) -> None:
        """Make what was accepted visible, and the place remembered.

        Args:
            counts: Requests, tokens, cost and seconds of this run, for the provenance.

        Raises:
            StorageError: If it cannot be written; what was published before stays.
        """
        if self.standing == self._published:
            return
        files = self._basket.write()
        # Before the manifest, which makes it hold; a run that dies between leaves it void.
        self._ledger.failures.note(self._round, self._places)
        config = self._plan.config()
        self._writer.publish(
            **files,
            config=config,
            template_hash=self._plan.template_hash,
            # One step a run, whatever the number of its shards.
            provenance=self._earlier_steps,
            step=self._record(config, counts),
        )
        self._basket.empty()
        self._places = []
        self._published = self.standing

    @property
    def _round(self) -> int:
        """The round that places are noted under: 0 is the plan itself."""
        return 0

    def _note(self, position: int, request_id: str, reason: str) -> None:
        self._places.append((position, request_id, reason))

    def _record(self, config: Mapping[str, Any], counts: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "step": self.step,
            **self._describe(),
            "model": self._plan.model,
            "seed": self._plan.seed,
            "plan": self._key,
            "config": dict(config),
            "captions": self.kept,
            "rejected": self._basket.refused(),
            **counts,
            "kept": self.standing.kept,
            "next_request": self.standing.request,
            "next_piece": self.standing.piece,
            "round": self.standing.round,
            "retried": self.standing.retried,
        }


class Gleaning(Harvest):
    """The second look at places where the plan failed, in its order; one round of `retry`.

    The captions come after all that is kept already. A place that gets no answer again stays as it
    was.
    """

    step = RETRY_STEP

    def __init__(
        self,
        writer: CacheWriter,
        ledger: Ledger,
        plan: Plan,
        describe: Callable[[], Mapping[str, Any]],
        *,
        shard_rows: int = SHARD_ROWS,
    ) -> None:
        super().__init__(writer, ledger, plan, describe, shard_rows=shard_rows)
        self._round_begun = replace(self.standing, round=self.standing.round + 1, retried=0)

    def glean(self, result: Result) -> int:
        """Judge the answer to a request that was asked again; return the captions kept."""
        request = result.request
        if isinstance(result, Unanswered):
            return 0
        judged = self._basket.judge(result)
        self._note(request.index, request.id, judged.fault)
        now = self._round_begun if self.standing.round != self._round else self.standing
        self.standing = replace(now, kept=now.kept + judged.kept, retried=request.index + 1)
        return judged.kept

    @property
    def _round(self) -> int:
        return self._round_begun.round
