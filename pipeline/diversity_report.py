"""Measure the diversity of a cache's captions, beside other captions if there are some.

All sets are measured on samples of the same size, drawn by seed, since nearly every measure depends
on the number of captions. What is known of a cache alone (which concepts and registers were asked
for, which captions came in one answer) is counted over all of it.

Letters: n sampled captions, D embedding size.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import EmptyInputError
from pipeline.describe import histogram, spread
from pipeline.diversity import Echo, distinct, echo, evenness, self_bleu, words
from pipeline.drawing import Drawer, Drawn

if TYPE_CHECKING:
    import numpy as np

    from cache_store.cache import Cache
    from prompts.bank import ConceptBank

SAMPLE = 10_000  # captions, at most: the size at which distinct-n is usually told
_PAIRED = 64  # captions of one concept and register that are compared with each other, at most
_NAMED_ABSENT = 5

Embed = Callable[[Sequence[str]], "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class Measures:
    """One set of captions in numbers; all but `captions` are of the sample.

    Attributes:
        name: What the captions are.
        captions: How many there are.
        sampled: n.
        mean_words: Words a caption.
        vocabulary: Different words.
        distinct: Distinct-1, -2 and -3.
        self_bleu: Self-BLEU-4.
        duplicates: Share of captions that say an earlier one again, but for case and punctuation.
        near_duplicates: Share of further captions that nearly do (`pipeline.refine`).
        lengths: Share of captions by words, the bins in words ("2-3").
        embedded: Captions that the next two are of.
        vendi: The Vendi score; None without embeddings.
        mean_cosine: Between two different captions; None without embeddings.
    """

    name: str
    captions: int
    sampled: int
    mean_words: float
    vocabulary: int
    distinct: tuple[float, float, float]
    self_bleu: float
    duplicates: float
    near_duplicates: float
    lengths: dict[str, float]
    embedded: int = 0
    vendi: float | None = None
    mean_cosine: float | None = None


@dataclass(frozen=True)
class Coverage:
    """How the captions of a cache fall on the concepts of a bank.

    Attributes:
        concepts: In the bank.
        share: Of them with at least one caption that names them.
        least, median, most: Captions a concept.
        evenness: From 0 to 1; see `diversity.evenness`.
        absent: The first concepts without a caption.
    """

    concepts: int
    share: float
    least: int
    median: float
    most: int
    evenness: float | None
    absent: tuple[str, ...]


@dataclass(frozen=True)
class Diversity:
    """What was measured.

    Attributes:
        sets: The cache, then what it stands beside.
        registers: Share of the cache's captions by register ("sentence"), where that is known.
        coverage: None if no caption of the cache names a concept.
        echo: How alike the captions of one answer are.
        space: The embedding space of the Vendi score, "" without.
    """

    sets: tuple[Measures, ...]
    registers: dict[str, float]
    coverage: Coverage | None
    echo: Echo
    space: str


def measure(drawn: Drawn, embeddings: np.ndarray[Any, Any] | None = None) -> Measures:
    """Measure one sample.

    Args:
        drawn: The captions.
        embeddings: Those of them that are embedded, unit rows.

    Shape:
        embeddings [at most n, D].
    """
    from pipeline.refine import Deduper

    said = [words(text) for text in drawn.texts]
    n = len(said)
    lengths = histogram(Counter(len(sentence) or 1 for sentence in said))
    deduper = Deduper()
    repeats = Counter(deduper.check(text) for text in drawn.texts)
    cosine, vendi = (None, None) if embeddings is None else spread(embeddings)
    return Measures(
        name=drawn.name,
        captions=drawn.total,
        sampled=n,
        mean_words=sum(map(len, said)) / n,
        vocabulary=len({word for sentence in said for word in sentence}),
        distinct=(distinct(said, 1), distinct(said, 2), distinct(said, 3)),
        self_bleu=self_bleu(said),
        duplicates=repeats["duplicate"] / n,
        near_duplicates=repeats["near_duplicate"] / n,
        lengths={name: count / n for name, count in lengths.items()},
        embedded=0 if embeddings is None else len(embeddings),
        vendi=vendi,
        mean_cosine=cosine,
    )


def measure_cache(
    cache: Cache,
    *,
    against: Sequence[Path] = (),
    column: str = "caption",
    sample: int = SAMPLE,
    seed: int = 0,
    bank: ConceptBank | None = None,
    embed: Embed | None = None,
) -> Diversity:
    """Measure the captions of a cache, and those of other files at the same n.

    Args:
        cache: The cache.
        against: Files of captions (`.txt`, `.csv`, `.tsv`, `.jsonl`, `.parquet`).
        column: Where the captions of these are.
        sample: n, at most; the smallest set decides.
        seed: Which captions are drawn.
        bank: The concepts that should be covered; our own list by default.
        embed: Embeds the captions of `against` in the cache's space; without it these get no
            Vendi score.

    Raises:
        EmptyInputError: If the cache or a file has no caption.
        UsageError, DataError: For a file that cannot be read.
    """
    scan = _Scan(Drawer(sample, seed))
    scan.read(cache)
    mine = scan.drawer.drawn(cache.path.name or str(cache.path))
    others = [draw_file(path, column=column, n=sample, seed=seed) for path in against]
    for drawn, where in zip((mine, *others), (cache.path, *against), strict=True):
        if not drawn:
            raise EmptyInputError("no captions to measure", where=where)
    n = min(map(len, (mine, *others)))
    space = cache.manifest.space
    sets: list[Measures] = []
    for drawn in (own.first(n) for own in (mine, *others)):
        vectors = None
        if space is not None and not sets:
            vectors = cache.embeddings[[row for row in drawn.rows if row < cache.manifest.rows]]
        elif space is not None and embed is not None:
            vectors = embed(drawn.texts)
        sets.append(measure(drawn, vectors))
    return Diversity(
        sets=tuple(sets),
        registers=_shares(scan.registers),
        coverage=_coverage(scan.concepts, bank),
        echo=echo(scan.groups),
        space=space.name if space is not None else "",
    )


def draw_file(path: Path, *, column: str = "caption", n: int = SAMPLE, seed: int = 0) -> Drawn:
    """Draw from a file of captions; rows without text are passed over.

    Raises:
        UsageError, DataError: If it cannot be read.
    """
    from pipeline.caption_files import read_blocks

    drawer = Drawer(n, seed)
    for block in read_blocks(path, column=column):
        texts = [value if isinstance(value, str) else "" for value in block.columns[column]]
        drawer.add(texts, [bool(text.strip()) for text in texts])
    return drawer.drawn(path.stem)


@dataclass
class _Scan:
    """One pass over the captions of a cache."""

    drawer: Drawer
    registers: Counter[str] = field(default_factory=Counter)
    concepts: Counter[str] = field(default_factory=Counter)
    groups: dict[object, list[tuple[str, Sequence[str]]]] = field(default_factory=dict)

    def read(self, cache: Cache) -> None:
        from cache_store.shards import iter_batches
        from pipeline.peek import caption_files

        columns = ("id", "caption", "concepts", "axes", "request_id")
        removed = set(cache.manifest.tombstones)
        for entry in caption_files(cache.manifest):
            for batch in iter_batches(cache.path / entry.path, columns):
                ids, texts, *known = (batch.column(name).to_pylist() for name in columns)
                keep = [one not in removed for one in ids]
                self.drawer.add(texts, keep)
                for kept, text, *facts in zip(keep, texts, *known, strict=True):
                    if kept:
                        self._count(text, *facts)

    def _count(self, text: str, concepts: list[str], axes: str, request: str) -> None:
        self.concepts.update(concepts)
        if not axes:
            return
        register = str(json.loads(axes).get("register", ""))
        self.registers[register] += 1
        if concepts and request:
            group = self.groups.setdefault((concepts[0], register), [])
            if len(group) < _PAIRED:
                group.append((request, words(text)))


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: counts[name] / total for name in sorted(counts)}


def _coverage(counts: Counter[str], bank: ConceptBank | None) -> Coverage | None:
    if not counts:
        return None
    from prompts.bank import ConceptBank

    names = [concept.name for concept in bank or ConceptBank.builtin()]
    each = [counts[name] for name in names]
    absent = [name for name, count in zip(names, each, strict=True) if not count]
    return Coverage(
        concepts=len(names),
        share=1 - len(absent) / len(names),
        least=min(each),
        median=statistics.median(each),
        most=max(each),
        evenness=evenness(each),
        absent=tuple(absent[:_NAMED_ABSENT]),
    )
