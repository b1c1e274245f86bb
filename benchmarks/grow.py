"""What captions bring to the user's recordings, by the rule that picks what they are about.

A cache that lacks whole groups of sounds meets recordings of a few of those sounds. `grow` writes
captions; every other rule gets as many, by the same grammar, from the same beginning. What counts
is measured on recordings that no rule has seen (the same kinds of sound, made from another seed):

    coverage       share of clips whose best concept the cache holds (docs/grow.md); this is what
                   `grow` works towards
    names it       share of clips whose nearest caption is about what is really heard, which no rule
                   looks at; also of the clips of lacking sounds alone

The space is `tiny`, the sounds are procedural, so the run needs no network, no model and no data.

    python benchmarks/grow.py --captions 8,16,32,64 --seeds 5
"""

from __future__ import annotations

import argparse
import csv
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cache_store.errors import UsedUpError
from cache_store.manifest import newest_manifest
from cache_store.shards import read_table
from cache_store.spaces.tiny.recordings import TRUTH, write_recordings
from pipeline.concepts import read_concepts
from pipeline.embed import embed_cache
from pipeline.generate import Limits, generate
from pipeline.grow.asking import Asker
from pipeline.grow.concepts import choose
from pipeline.grow.coverage import held
from pipeline.grow.prepare import Audio
from pipeline.grow.report import GrowReport
from pipeline.grow.rounds import grow_cache
from pipeline.grow.wordings import ALONE
from pipeline.llm.grammar import GrammarBackend
from pipeline.llm.select import Chosen
from prompts.axes import Axes
from prompts.bank import ConceptBank
from prompts.plan import Plan

HEARD = Path(__file__).parents[1] / "examples" / "grow" / "heard.txt"
LACKING = ("animals", "insects", "people", "music")  # groups of which the cache has nothing
# What is recorded, and the concept that it is: half of it is lacking.
KINDS = {
    "dog": "dog",
    "rooster": "rooster",
    "cow": "cow",
    "baby": "baby crying",
    "rain": "rain",
    "siren": "siren",
    "helicopter": "helicopter",
    "bell": "church bell",
}
LACKED = ("dog", "rooster", "cow", "baby")
PER_KIND = 8
BEGINNING = 300  # captions that the cache has
HELD_OUT = 1000  # added to the seed of recordings that no rule sees


@dataclass(frozen=True)
class Result:
    """Shares of the held-out clips, and the captions that they cost."""

    captions: int
    coverage: float
    named: float
    named_lacked: float


Rule = Callable[[GrowReport, ConceptBank], ConceptBank]


def whole(_: GrowReport, bank: ConceptBank) -> ConceptBank:
    """Everything that there is."""
    return bank


def missing(report: GrowReport, bank: ConceptBank) -> ConceptBank:
    """What the cache does not hold, whether or not it is in the recordings."""
    there = held(report.nearest_before.counts)
    return ConceptBank(tuple(one for one, has in zip(bank, there, strict=True) if not has))


def best(report: GrowReport, bank: ConceptBank) -> ConceptBank:
    """The best concept of each far clip, each as often as any other."""
    return ConceptBank(tuple(bank.concepts[row] for row in _best(report)))


def best_by_clips(report: GrowReport, bank: ConceptBank) -> ConceptBank:
    """The best concept of each far clip, as often as there are such clips."""
    rows = _best(report)
    return ConceptBank(tuple(bank.concepts[row] for row in rows), tuple(rows.values()))


def cover(report: GrowReport, bank: ConceptBank) -> ConceptBank:
    """Few concepts that serve all far clips, as `grow` takes them, each as often as any other."""
    counts = held(report.nearest_before.counts)
    choice = choose(report.prepared.scores, report.before, counts, ())
    return ConceptBank(tuple(bank.concepts[row] for row in choice.concepts))


def _best(report: GrowReport) -> Counter[int]:
    return Counter(report.before.best[report.before.far].tolist())


# With `generate`, captions may be of several sounds, as a user would get them.
RULES: dict[str, tuple[Rule, Axes | None]] = {
    "`generate`, all concepts": (whole, None),
    "all concepts, one sound a caption": (whole, ALONE),
    "what the cache lacks": (missing, ALONE),
    "best concept of each far clip": (best, ALONE),
    "the same, by clips": (best_by_clips, ALONE),
    "greedy cover, each alike": (cover, ALONE),
}


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captions", default="8,16,32,64", help="budgets of grow, with commas")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    budgets = [int(word) for word in options.captions.split(",")]
    found: dict[tuple[int, str], list[Result]] = {}
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            one = World(Path(folder), seed)
            found.setdefault((0, "before"), []).append(one.measure(one.base, 0))
            for budget in budgets:
                for name, result in one.compare(budget):
                    found.setdefault((budget, name), []).append(result)
    print("| `-n` | what is written about | captions | coverage | names it | of the lacking |")
    print("|---|---|---|---|---|---|")
    for (budget, name), results in found.items():
        cells = [_said([getattr(one, field) for one in results]) for field in _SHARES]
        captions = statistics.fmean(one.captions for one in results)
        print(f"| {budget or ''} | {name} | {captions:.0f} | {' | '.join(cells)} |")


_SHARES = ("coverage", "named", "named_lacked")


def _said(values: list[float]) -> str:
    """The mean over seeds, and the lowest and the highest."""
    return f"{statistics.fmean(values):.1%} ({min(values):.0%} to {max(values):.0%})"


class World:
    """A cache, recordings to grow by, and others to measure on.

    Args:
        folder: For all of it.
        seed: Of the recordings and of what is asked.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._bank = read_concepts(HEARD)
        self._made = 0
        self._heard = folder / "heard"
        self._held_out = folder / "held-out"
        write_recordings(self._heard, list(KINDS), PER_KIND, seed=seed)
        write_recordings(self._held_out, list(KINDS), PER_KIND, seed=seed + HELD_OUT)
        self.base = folder / "base"
        there = ConceptBank(tuple(one for one in self._bank if one.group not in LACKING))
        self._write(self.base, there, BEGINNING, None)
        # Recordings are embedded here once; copies take what was kept along.
        self._before = self._look(self.base, self._heard)

    def compare(self, budget: int) -> list[tuple[str, Result]]:
        """What `grow` brings with a budget, then what the rules bring with what it took of it."""
        cache = self._copy()
        report = grow_cache(cache, Audio(self._heard), self._asker(), n=budget, device="cpu")
        rows = [("**`grow`**", self.measure(cache, report.kept))]
        for name, (rule, axes) in RULES.items():
            cache = self._copy()
            written = self._write(cache, rule(self._before, self._bank), report.kept, axes)
            rows.append((name, self.measure(cache, written)))
        return rows

    def measure(self, cache: Path, captions: int) -> Result:
        """How the held-out recordings stand."""
        report = self._look(cache, self._held_out)
        with (self._held_out / TRUTH).open(encoding="utf-8") as file:
            kinds = {row["path"]: row["label"] for row in csv.DictReader(file)}
        labels = [kinds[name] for name in report.prepared.recordings.table.names]
        about = _concepts(cache)
        right = np.array(
            [
                about[row] == KINDS[label]
                for row, label in zip(report.nearest_before.nearest, labels, strict=True)
            ]
        )
        lacked = np.array([label in LACKED for label in labels])
        return Result(captions, report.before.share, right.mean(), right[lacked].mean())

    def _plan(self, bank: ConceptBank, axes: Axes | None) -> Plan:
        plan = Plan(bank=bank, seed=self._seed, model="grammar", template="chat.v2")
        return plan if axes is None else replace(plan, axes=axes)

    def _asker(self) -> Asker:
        plan = self._plan(self._bank, None)
        return Asker(plan, lambda: Chosen(GrammarBackend(), 1), Limits())

    def _look(self, cache: Path, audio: Path) -> GrowReport:
        return grow_cache(cache, Audio(audio), self._asker(), device="cpu", ask=False)

    def _copy(self) -> Path:
        self._made += 1
        return Path(shutil.copytree(self.base, self._folder / f"cache-{self._made}"))

    def _write(self, cache: Path, bank: ConceptBank, captions: int, axes: Axes | None) -> int:
        """Write and embed captions; returns how many came, since a sound has so many wordings."""
        if not captions or not len(bank):
            return 0
        before = _rows(cache)
        with suppress(UsedUpError):
            generate(cache, self._plan(bank, axes), GrammarBackend(), captions, append=True)
        embed_cache(cache, space="tiny", device="cpu")
        return _rows(cache) - before


def _rows(cache: Path) -> int:
    manifest = newest_manifest(cache) if cache.exists() else None
    return sum(entry.rows for entry in manifest.captions) if manifest is not None else 0


def _concepts(cache: Path) -> list[str]:
    """What each embedded caption was written about, in the cache's order."""
    manifest = newest_manifest(cache)
    assert manifest is not None
    tables = [read_table(cache / entry.path, ["concepts"]) for entry in manifest.data]
    names = [row for table in tables for row in table.column("concepts").to_pylist()]
    return [row[0] if row else "" for row in names]


if __name__ == "__main__":
    main()
