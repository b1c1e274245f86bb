"""Interferers: never the same recording, never the same kind as far as anything tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache_store.clips import ClipTable
from cache_store.errors import DataError
from tests.trainer.clips import with_embeddings, without, write_clips
from trainer.pairing import Pairing


@pytest.fixture
def clips(tmp_path: Path) -> ClipTable:
    return with_embeddings(write_clips(tmp_path))


def drawn(pairing: Pairing, target: int, n: int = 1, times: int = 300) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    return [pairing.draw(target, n, rng) for _ in range(times)]


def test_labels_keep_apart_and_all_others_are_drawn(clips: ClipTable) -> None:
    found = {clip for (clip,) in drawn(Pairing(clips), 0)}
    assert found == set(range(4, 12))


def test_several_interferers_are_of_different_recordings(clips: ClipTable) -> None:
    for chosen in drawn(Pairing(clips), 5, n=3):
        assert len(set(chosen)) == 3
        assert not set(chosen) & {4, 5, 6, 7}


def test_fewer_where_there_are_not_as_many(clips: ClipTable) -> None:
    two = clips.select([0, 4])
    assert Pairing(two).draw(0, 3, np.random.default_rng(0)) == (1,)


def test_without_labels_embeddings_keep_alike_apart(clips: ClipTable) -> None:
    unlabelled = without(clips, "label", "caption")
    # 3 kinds of 4: of 66 pairs, 18 (27 %) are of one kind, and much more alike than the others
    pairing = Pairing(unlabelled, quantile=0.7)
    for target in range(12):
        kind = target // 4
        assert all(clip // 4 != kind for (clip,) in drawn(pairing, target, times=50))


def test_the_quantile_is_that_of_all_pairs_of_different_recordings(clips: ClipTable) -> None:
    pairing = Pairing(clips, "embedding", 0.8)
    assert clips.embeddings is not None
    cosines = clips.embeddings @ clips.embeddings.T
    expected = np.quantile(cosines[~np.eye(12, dtype=bool)], 0.8)
    assert pairing.threshold == pytest.approx(expected, abs=1e-6)


def test_captions_stand_in_for_labels(clips: ClipTable) -> None:
    captioned = without(clips, "label")
    plain = ClipTable(captioned.paths, captioned.names, captioned.columns)
    assert {clip for (clip,) in drawn(Pairing(plain), 0)} == set(range(4, 12))


def test_none_keeps_only_the_recording_itself_apart(clips: ClipTable) -> None:
    assert {clip for (clip,) in drawn(Pairing(clips, "none"), 0)} == set(range(1, 12))


def test_rows_of_one_recording_never_meet(clips: ClipTable) -> None:
    twice = without(clips, "label", "caption").select([0, 0, 0, 4])
    for target in (0, 1, 2):
        assert {clip for (clip,) in drawn(Pairing(twice, "none"), target)} == {3}


def test_where_embeddings_leave_nobody_their_rule_is_dropped(clips: ClipTable) -> None:
    alike = without(clips, "label", "caption").select([0, 1, 2, 3])
    pairing = Pairing(alike, quantile=0.01)
    assert all(clip != 0 for (clip,) in drawn(pairing, 0))


@pytest.mark.parametrize(
    ("columns", "rows", "avoid", "why"),
    [
        ((), [0], "auto", "at least two recordings"),
        ((), [0, 0, 0], "none", "at least two recordings"),
        ((), [0, 1, 2], "auto", "same label"),
        (("label",), [0, 4], "label", "no labels"),
    ],
)
def test_clips_that_cannot_be_paired(
    clips: ClipTable, columns: tuple[str, ...], rows: list[int], avoid: str, why: str
) -> None:
    with pytest.raises(DataError, match=why):
        Pairing(without(clips, *columns).select(rows), avoid)


def test_embeddings_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no embeddings"):
        Pairing(write_clips(tmp_path), "embedding")
