"""Grow a cache where the user's audio has no close caption: measure, choose, ask, embed, repeat.

Each round takes the clips that are far, chooses concepts that serve them (`concepts`), has captions
written about those alone, embeds them, and measures again. It ends when no clip is far, when no
concept is left that lies near the far ones, when coverage rose by no more than its noise, or when
captions, rounds or money are spent.

What a round decides is published before anything is asked (`record`), every answer is in the ledger
before it is used, and all figures follow from files; so after a kill at any moment the same command
goes on, with the same rounds, and asks for nothing twice. Given the answers, the result depends on
the cache, the clips, the concepts, the model and the seed alone.

The first round gets half of the captions and each later one half of what is left (the last one, all
of it): most of the lack is known at the beginning, and what a round teaches should find money left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.grow.asking import Asker, ask_round
from pipeline.grow.concepts import LEAST_CAPTIONS, Choice, choose
from pipeline.grow.coverage import Coverage, held, judge, rise
from pipeline.grow.plans import round_plan
from pipeline.grow.prepare import Audio, Prepared, prepare
from pipeline.grow.record import Round, files_hash
from pipeline.grow.report import Ended, GrowReport, RoundReport, facts, spent_on, told
from pipeline.grow.tally import Tally, read_captions, written_about
from pipeline.progress import Progress, quiet
from pipeline.standing import plan_key

if TYPE_CHECKING:
    from cache_store.manifest import Manifest

PER_CONCEPT = 20  # captions for each concept of the first round, where the user names no number
ROUNDS = 3


def grow_cache(
    cache: str | Path,
    audio: Audio,
    asker: Asker,
    *,
    n: int | None = None,
    rounds: int = ROUNDS,
    space: str | None = None,
    device: str = "auto",
    ask: bool = True,
    note: Callable[[str], None] = lambda _: None,
    progress: Progress = quiet,
) -> GrowReport:
    """Write captions where the user's audio has none that is close.

    Args:
        cache: A cache with captions; those that are not embedded yet are embedded first.
        audio: The user's recordings.
        asker: Who is asked.
        n: Captions to write at most, over all rounds; None for 20 for each concept of the first.
        rounds: Rounds at most.
        space: A model of the cache's space, None for the one that it names.
        device: Where to embed.
        ask: False measures, says what the first round would ask for, and publishes nothing.
        note: Told what is going on, a line at a time.
        progress: How to show the embedding of the recordings.

    Raises:
        UsageError: If the space has no text tower, or the recordings are not there.
        DataError: If there is no cache, or too few answers can be used to begin with.
        ChangedPlanError: If the cache was rewritten, or the prompts changed, between two runs.
        KeyboardInterrupt: After Ctrl-C; what was accepted is published.
    """
    folder = Path(cache)
    prepared = prepare(
        folder,
        audio,
        asker.plan,
        space=space,
        device=device,
        embed=ask,
        progress=progress,
    )
    loop = _Loop(folder, prepared, asker, n, rounds, space, device, note)
    return loop.run(ask)


class _Loop:
    """One run of a growth."""

    def __init__(
        self,
        cache: Path,
        prepared: Prepared,
        asker: Asker,
        n: int | None,
        rounds: int,
        space: str | None,
        device: str,
        note: Callable[[str], None],
    ) -> None:
        self._cache = cache
        self._prepared = prepared
        self._asker = asker
        self._n = n
        self._most_rounds = rounds
        self._space = space
        self._device = device
        self._note = note
        self._groups = [concept.group for concept in prepared.bank]
        self._tally = Tally(prepared.reference, prepared.recordings.vectors)
        self._files = 0
        self._reports: list[RoundReport] = []
        self._coverages: list[Coverage] = []

    def run(self, ask: bool) -> GrowReport:
        """Go through the rounds that are recorded, then through new ones."""
        prepared = self._prepared
        self._read_to(prepared.base)
        self._coverages.append(self._judge())
        nearest_before = self._tally.copy()
        self._note(f"before: {told(self._coverages[0])}")
        records = list(prepared.rounds)
        while True:
            number = len(self._reports) + 1
            choice = None
            if number > len(records):
                ended, choice = self._next(number)
                if ended is None and not ask:
                    ended = "nothing was asked"
                if ended is not None:
                    break
                assert choice is not None
                records.append(self._begin(number, choice))
            elif not ask and records[number - 1].measured is None:
                ended = "nothing was asked"
                break
            record, stopped = self._finish(records[number - 1])
            self._report(record)
            if stopped is not None:
                ended = stopped
                break
        return GrowReport(
            prepared=prepared,
            before=self._coverages[0],
            after=self._coverages[-1],
            nearest_before=nearest_before,
            nearest_after=self._tally,
            rounds=tuple(self._reports),
            ended=ended,
            next=choice,
            captions=self._tally.rows,
        )

    def _next(self, number: int) -> tuple[Ended | None, Choice | None]:
        """Why there is no further round, or what it asks for."""
        now = self._coverages[-1]
        if not now.far.any():
            return "no clip is far", None
        if len(self._coverages) > 1 and not rise(self._coverages[-2], now)[1]:
            return "coverage rose by no more than its noise", None
        everything = self._choose(None)
        if not everything.concepts:
            return "no concept is left that lies near the far clips", None
        size = self._size(number, len(everything.concepts))
        if size < 1:
            return "all captions are written", None
        choice = self._choose(max(1, size // LEAST_CAPTIONS))
        return ("all rounds are done" if number > self._most_rounds else None), choice

    def _choose(self, most: int | None) -> Choice:
        names = [concept.name for concept in self._prepared.bank]
        asked = {name for one in self._reports for name in one.record.concepts}
        return choose(
            self._prepared.scores,
            self._coverages[-1],
            held(self._tally.counts),
            [row for row, name in enumerate(names) if name in asked],
            most,
        )

    def _budget(self, concepts: int) -> int:
        if self._n is not None:
            return self._n
        return self._reports[0].record.budget if self._reports else PER_CONCEPT * concepts

    def _size(self, number: int, concepts: int) -> int:
        left = self._budget(concepts) - sum(one.record.kept for one in self._reports)
        return left if number >= self._most_rounds else math.ceil(left / 2)

    def _begin(self, number: int, choice: Choice) -> Round:
        bank = self._prepared.bank
        everything = len(self._choose(None).concepts)
        record = Round(
            growth=self._prepared.growth,
            number=number,
            files=self._files,
            data=files_hash(self._manifest(), self._files),
            concepts=tuple(bank.concepts[row].name for row in choice.concepts),
            clips=choice.clips,
            repeats=choice.repeats,
            captions=self._size(number, everything),
            plan="",
            budget=self._budget(everything),
        )
        record = replace(record, plan=plan_key(round_plan(self._asker.plan, record)))
        self._publish(record.begun_step(facts(self._coverages[-1])))
        return record

    def _finish(self, record: Round) -> tuple[Round, Ended | None]:
        """Bring a begun round to its end, or as far as the budget goes."""
        if record.measured is not None:
            self._read_to(record.measured)
            return record, None
        outcome, kept = ask_round(self._cache, self._asker, record, self._note)
        from pipeline.embed import embed_cache

        embed_cache(self._cache, space=self._space, device=self._device)
        files = len(self._manifest().data)
        self._read_to(files)
        record = replace(record, kept=kept, used_up=outcome == "used up")
        # Such a round is not measured for good: with more money, or another start, it goes on.
        if outcome == "budget spent":
            return record, "the budget is spent"
        if outcome == "stopped":
            return record, "stopped"
        if outcome == "waiting":
            return record, "a batch is on its way: run the same command later"
        record = replace(record, measured=files)
        self._publish(record.measured_step(facts(self._judge())))
        return record, None

    def _report(self, record: Round) -> None:
        self._coverages.append(self._judge())
        manifest = self._manifest()
        counts = written_about(self._cache, manifest.data[record.files : self._files])
        self._reports.append(
            RoundReport(
                record=record,
                coverage=self._coverages[-1],
                written={name: counts.get(name, 0) for name in record.concepts},
                spent=spent_on(manifest, record.plan),
            )
        )
        self._note(f"after round {record.number}: {told(self._coverages[-1])}")

    def _judge(self) -> Coverage:
        return judge(self._prepared.scores, held(self._tally.counts), self._groups)

    def _read_to(self, files: int) -> None:
        for captions, alive in read_captions(self._cache, self._manifest(), self._files, files):
            self._tally.add(captions, alive)
        self._files = files

    def _manifest(self) -> Manifest:
        from cache_store.manifest import Manifest, newest_manifest

        return newest_manifest(self._cache) or Manifest()

    def _publish(self, step: dict[str, Any]) -> None:
        from cache_store.writer import open_writer

        with open_writer(self._cache, create=False) as writer:
            writer.publish(step=step)
