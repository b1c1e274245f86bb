from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.cache import open_cache
from cache_store.errors import DataError, UsageError
from cache_store.removing import remove_captions
from cache_store.text import caption_id
from tests.cache_store.builders import captions
from tests.cache_store.test_compact import live


def test_removed_by_id_they_are_not_found_any_more(cache_path: Path) -> None:
    ids = live(cache_path)[0]
    report = remove_captions(cache_path, ids=[*ids[3:6], "0" * 32])
    assert (report.captions, report.removed, report.left) == (65, 3, 62)
    assert (report.unknown, report.already) == (1, 0)
    assert report.examples == tuple(captions(3, 3))
    with open_cache(cache_path) as cache:
        assert len(cache) == 62
        assert cache.search(cache.embeddings[3:4], k=1).rows[0, 0] != 3
        assert cache.manifest.provenance[-1]["removed"] == 3


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ('"number 1" in caption', 11),
        ('caption == "sound number 7 of the café"', 1),
        ('"kind 1" in concepts', 21),
        ('register == "phrase"', 65),
        ("words > 6", 0),
        ('model != "test-model"', 0),
    ],
)
def test_an_expression_selects(cache_path: Path, where: str, count: int) -> None:
    assert remove_captions(cache_path, where=where, dry=True).removed == count
    with open_cache(cache_path) as cache:
        assert cache.manifest.number == 2
    assert remove_captions(cache_path, where=where).removed == count
    with open_cache(cache_path) as cache:
        assert cache.manifest.number == (3 if count else 2)


def test_what_was_removed_before_is_counted_apart(cache_path: Path) -> None:
    identity = caption_id(captions(1)[0])
    remove_captions(cache_path, ids=[identity])
    report = remove_captions(cache_path, ids=[identity])
    assert (report.captions, report.removed, report.already, report.unknown) == (64, 0, 1, 0)


def test_what_cannot_work_is_refused(cache_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="either ids or an expression"):
        remove_captions(cache_path)
    with pytest.raises(UsageError, match="there is no column `colour`"):
        remove_captions(cache_path, where='colour == "red"')
    for dry in (True, False):
        with pytest.raises(DataError):
            remove_captions(tmp_path / "nothing", ids=[], dry=dry)
