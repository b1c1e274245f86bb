"""From answers to the captions of a cache: judge, deduplicate, write shards, remember the place.

Answers come in plan order, so what is kept is a function of the plan, the answers and what the
cache held before. Accepted captions wait for a shard to fill; `publish` writes what waits and says
in the manifest's provenance where the plan goes on. Memory: one shard, and what the deduper needs.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cache_store.text import caption_id, normalise_caption
from pipeline.llm.source import Answered, Result, Unanswered
from pipeline.refine import Deduper
from prompts.schema import Rejected, parse

if TYPE_CHECKING:
    from cache_store.manifest import FileEntry, Manifest
    from cache_store.writer import CacheWriter
    from prompts.plan import Plan

STEP = "generate"
NO_ANSWER = "no_answer"  # begins the reason of a request that got none: "no_answer: timeout"
SHARD_ROWS = 16_384  # captions a file, and what a run that is not stopped publishes at once
_ANSWER_LENGTH = 2_000  # characters of an unusable answer that a rejects file shows


@dataclass(frozen=True)
class Standing:
    """How far a plan has come in a cache.

    Attributes:
        kept: Captions that it has there.
        request: Position of the first request that is not used up.
        piece: The first caption of that request's answer that was not judged.
    """

    kept: int = 0
    request: int = 0
    piece: int = 0


def plan_key(plan: Plan) -> str:
    """The name of a plan in the provenance: a hash of its settings."""
    spelled = json.dumps(plan.config(), sort_keys=True)
    return hashlib.sha256(spelled.encode()).hexdigest()[:16]


def plans_of(manifest: Manifest | None) -> dict[str, Mapping[str, Any]]:
    """The last step of each plan that a cache has, oldest plan first, by key."""
    steps = manifest.provenance if manifest is not None else ()
    return {step["plan"]: step for step in steps if step.get("step") == STEP}


def standing_of(manifest: Manifest | None, key: str) -> Standing:
    """How far the plan of this key has come."""
    step = plans_of(manifest).get(key)
    if step is None:
        return Standing()
    return Standing(step["kept"], step["next_request"], step["next_piece"])


class Harvest:
    """What one run accepts and refuses.

    Args:
        writer: The cache, open for writing.
        plan: What is asked.
        describe: The backend's settings, for the provenance.
        shard_rows: Captions a file, at most.

    Attributes:
        kept: Captions accepted by this run.
        rejected: Captions refused by this run, by reason.
        standing: How far the plan has come.
    """

    def __init__(
        self,
        writer: CacheWriter,
        plan: Plan,
        describe: Callable[[], Mapping[str, Any]],
        *,
        shard_rows: int = SHARD_ROWS,
    ) -> None:
        self._writer = writer
        self._plan = plan
        self._key = plan_key(plan)
        self._describe = describe
        self._shard_rows = shard_rows
        self._earlier_steps = writer.current.provenance
        self._captions: list[tuple[str, str, list[str], str, str, str]] = []
        self._rejects: list[tuple[str, str, str, list[str], str, str]] = []
        self.standing = standing_of(writer.manifest, self._key)
        self._published = self.standing
        self.kept = 0
        self.rejected: Counter[str] = Counter()

    def take(self, result: Result, wanted: int) -> int:
        """Judge the captions of the next answer, or note that there is none.

        Args:
            result: The result of request `standing.request`.
            wanted: Captions that the plan shall have; judging stops there.

        Returns:
            Captions kept.
        """
        if isinstance(result, Unanswered):
            self._take_nothing(result)
            return 0
        return self._take_answer(result, wanted)

    def _take_nothing(self, result: Unanswered) -> None:
        request = result.request
        reason, names = f"{NO_ANSWER}: {result.reason}", list(request.concepts)
        self._reject(reason, "", "", names, request.model, request.id)
        self.standing = Standing(self.standing.kept, request.index + 1, 0)

    def _take_answer(self, answered: Answered, wanted: int) -> int:
        request, answer = answered.request, answered.answer
        pieces = parse(answer.text, request, finish_reason=answer.finish_reason)
        useless = all(isinstance(piece, Rejected) for piece in pieces)
        model = answer.model or request.model
        kept, place = 0, self.standing.piece
        for place in range(self.standing.piece, len(pieces)):
            if self.standing.kept + kept == wanted:
                break
            piece = pieces[place]
            if isinstance(piece, Rejected):
                shown = answer.text[:_ANSWER_LENGTH] if useless and place == 0 else ""
                names = list(request.concepts)
                self._reject(piece.reason, piece.text, shown, names, model, request.id)
                continue
            text, names = normalise_caption(piece.text), list(piece.concepts)
            reason = self._deduper.check(text)
            if reason is not None:
                self._reject(reason, text, "", names, model, request.id)
                continue
            axes = json.dumps(request.axes, sort_keys=True)
            self._captions.append((caption_id(text), text, names, axes, model, request.id))
            kept += 1
        else:
            place = len(pieces)
        done = place == len(pieces)
        self.standing = Standing(
            self.standing.kept + kept,
            request.index + 1 if done else request.index,
            0 if done else place,
        )
        self.kept += kept
        return kept

    @cached_property
    def _deduper(self) -> Deduper:
        """Knows what the cache holds; made when first needed, since it reads all of it."""
        deduper = Deduper()
        for text in _captions(self._writer):
            deduper.add(text)
        return deduper

    @property
    def full(self) -> bool:
        """Whether a shard's worth of rows waits."""
        return max(len(self._captions), len(self._rejects)) >= self._shard_rows

    def publish(self, counts: Mapping[str, Any]) -> None:
        """Make what was accepted visible, and the place remembered.

        Args:
            counts: Requests, tokens, cost and seconds of this run, for the provenance.

        Raises:
            StorageError: If it cannot be written; what was published before stays.
        """
        if self.standing == self._published:
            return
        import pyarrow as pa

        from cache_store.schema import captions_schema, rejects_schema

        current = self._writer.current
        captions = [
            self._writer.write_captions(_table(rows, captions_schema(), pa))
            for rows in _slices(self._captions, self._shard_rows)
        ]
        rejects = [
            self._writer.write_rejects(_table(rows, rejects_schema(), pa))
            for rows in _slices(self._rejects, self._shard_rows)
        ]
        config = self._plan.config()
        self._writer.publish(
            captions=_with(current.captions, captions),
            rejects=_with(current.rejects, rejects),
            config=config,
            template_hash=self._plan.template_hash,
            # One step a run, whatever the number of its shards.
            provenance=self._earlier_steps,
            step=self._step(config, counts),
        )
        self._captions, self._rejects = [], []
        self._published = self.standing

    def _reject(
        self, reason: str, text: str, answer: str, names: list[str], model: str, request_id: str
    ) -> None:
        self.rejected[reason] += 1
        self._rejects.append((reason, text, answer, names, model, request_id))

    def _step(self, config: Mapping[str, Any], counts: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "step": STEP,
            **self._describe(),
            "model": self._plan.model,
            "seed": self._plan.seed,
            "plan": self._key,
            "config": dict(config),
            "captions": self.kept,
            "rejected": dict(sorted(self.rejected.items())),
            **counts,
            "kept": self.standing.kept,
            "next_request": self.standing.request,
            "next_piece": self.standing.piece,
        }


def _captions(writer: CacheWriter) -> Iterator[str]:
    """The text of every caption that the cache holds, embedded or not, in order."""
    from cache_store.shards import read_table

    imported = (entry for entry in writer.current.data if not entry.source)
    for entry in (*writer.current.captions, *imported):
        yield from read_table(writer.path / entry.path, ["caption"]).column("caption").to_pylist()


def _slices(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size]


def _table(rows: Sequence[Any], schema: Any, pa: Any) -> Any:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def _with(listed: Sequence[FileEntry], new: Sequence[FileEntry]) -> tuple[FileEntry, ...]:
    """The files of before and the new ones; equal content is one file, listed once."""
    paths = {entry.path for entry in listed}
    return (*listed, *(entry for entry in new if entry.path not in paths))
