from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cache_store.cache import open_cache
from cache_store.errors import EmptyInputError, UsageError
from cache_store.writer import open_writer
from pipeline.describe import spread
from pipeline.diversity import self_bleu, words
from pipeline.diversity_report import Diversity, draw_file, measure, measure_cache
from pipeline.embed import embed_cache
from pipeline.generate import generate
from pipeline.importing import import_captions
from pipeline.llm.grammar import GrammarBackend
from prompts.bank import ConceptBank
from prompts.plan import Plan
from tests.pipeline.materials import DIM, captions, unit_vector, write_lines, write_vectors

BANK = ConceptBank.from_names(["dog", "rain", "church bell", "kettle", "owl", "train"])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of 60 captions by the grammar, three an answer, embedded with `tiny`."""
    cache = tmp_path_factory.mktemp("caches") / "written"
    plan = Plan(bank=BANK, model="grammar", per_request=3)
    generate(cache, plan, GrammarBackend(), 60)
    embed_cache(cache, space="tiny")
    return cache


def measured(cache: Path, **settings: object) -> Diversity:
    with open_cache(cache) as store:
        return measure_cache(store, **{"bank": BANK, **settings})  # type: ignore[arg-type]


def test_the_measures_are_those_of_the_whole_cache_where_it_is_small(written: Path) -> None:
    found = measured(written)
    mine = found.sets[0]
    with open_cache(written) as store:
        texts = store.captions(np.arange(60))
        cosine, vendi = spread(store.embeddings[:])
    said = [words(text) for text in texts]
    assert (mine.name, mine.captions, mine.sampled, mine.embedded) == ("written", 60, 60, 60)
    assert mine.vocabulary == len({word for sentence in said for word in sentence})
    assert mine.self_bleu == pytest.approx(self_bleu(said))
    assert (mine.vendi, mine.mean_cosine) == (pytest.approx(vendi), pytest.approx(cosine))
    assert sum(mine.lengths.values()) == pytest.approx(1)
    assert (mine.duplicates, mine.near_duplicates) == (0, 0)  # generate let none in
    assert found.space == "tiny"


def test_concepts_registers_and_echoes_are_counted_over_the_whole_cache(written: Path) -> None:
    found = measured(written, sample=5)
    with open_cache(written) as store:
        named = Counter(name for names in store.concepts(np.arange(60)) for name in names)
    assert found.sets[0].sampled == 5
    assert found.coverage is not None
    each = [named[concept.name] for concept in BANK]
    assert found.coverage.concepts == 6
    assert (found.coverage.least, found.coverage.most) == (min(each), max(each))
    assert found.coverage.share == sum(map(bool, each)) / 6
    assert sum(found.registers.values()) == pytest.approx(1)
    assert found.echo.within_pairs > 0 and found.echo.across_pairs > 0


def test_a_concept_without_a_caption_is_named(written: Path) -> None:
    larger = ConceptBank((*BANK.concepts, *ConceptBank.from_names(["zorgophone"]).concepts))
    coverage = measured(written, bank=larger).coverage
    assert coverage is not None
    assert coverage.absent == ("zorgophone",) and coverage.least == 0
    assert coverage.share == pytest.approx(6 / 7)


def test_sets_are_compared_at_the_size_of_the_smallest(written: Path, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "others.txt", captions(30))
    found = measured(written, against=[file])
    assert [(one.name, one.captions, one.sampled) for one in found.sets] == [
        ("written", 60, 30),
        ("others", 30, 30),
    ]
    assert found.sets[1].vendi is None


def test_others_are_embedded_by_what_is_given(written: Path, tmp_path: Path) -> None:
    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([unit_vector(text) for text in texts])

    texts = captions(30)
    file = write_lines(tmp_path / "others.txt", texts)
    found = measured(written, against=[file], embed=embed)
    expected = spread(embed(texts))[1]
    # The rows in another order: a few units in the last place.
    assert found.sets[1].vendi == pytest.approx(expected, rel=1e-9)


def test_the_same_seed_draws_the_same_captions(written: Path) -> None:
    assert measured(written, sample=20) == measured(written, sample=20)
    assert measured(written, sample=20).sets != measured(written, sample=20, seed=1).sets


def test_duplicates_are_those_of_the_deduper(tmp_path: Path) -> None:
    texts = ["a dog barks in a quiet yard by the sea", "A dog barks, in a quiet yard by the sea!"]
    texts += ["rain falls", "a dog barks loudly in a quiet yard by the sea"]
    found = measure(draw_file(write_lines(tmp_path / "a.txt", texts)).first(4))
    assert (found.duplicates, found.near_duplicates) == (1 / 4, 1 / 4)


def test_removed_captions_are_not_measured(tmp_path: Path) -> None:
    cache = tmp_path / "c"
    import_captions(cache, write_vectors(tmp_path / "a.parquet", captions(9)), embeddings=True)
    with open_cache(cache) as store:
        gone = store.ids([0, 5])
    with open_writer(cache) as writer:
        writer.publish(tombstones=gone)
    mine = measured(cache).sets[0]
    assert (mine.captions, mine.sampled, mine.embedded) == (7, 7, 7)


def test_captions_not_embedded_yet_are_measured_without_a_spread(tmp_path: Path) -> None:
    cache = tmp_path / "c"
    import_captions(cache, write_vectors(tmp_path / "a.parquet", captions(4)), embeddings=True)
    import_captions(cache, write_lines(tmp_path / "b.txt", captions(10)))
    mine = measured(cache).sets[0]
    assert (mine.sampled, mine.embedded) == (10, 4)
    assert mine.vendi == pytest.approx(spread(np.stack(list(map(unit_vector, captions(4)))))[1])
    assert DIM == 16


def test_imported_captions_name_no_concept_and_no_register(tmp_path: Path) -> None:
    cache = tmp_path / "c"
    import_captions(cache, write_lines(tmp_path / "b.txt", captions(10)))
    found = measured(cache)
    assert (found.coverage, found.registers, found.space) == (None, {}, "")


def test_a_file_without_captions_is_refused(written: Path, tmp_path: Path) -> None:
    with pytest.raises(EmptyInputError, match="no captions to measure"):
        measured(written, against=[write_lines(tmp_path / "empty.txt", ["  "])])
    with pytest.raises(UsageError, match="no captions file"):
        measured(written, against=[tmp_path / "missing.csv"])
