"""Held-out mixtures: fixed, comparable, and well posed for a text query."""

from __future__ import annotations

import numpy as np
import pytest

from cache_store.clips import ClipTable
from cache_store.errors import UsageError
from tests.trainer.clips import RATE, with_embeddings, without, write_clips
from trainer.clip_audio import ClipAudio
from trainer.held_out import plan_mixtures, render
from trainer.mixing import rms


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipTable:
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def audio(clips: ClipTable) -> ClipAudio:
    return ClipAudio(clips, RATE)


def test_the_same_every_time_and_a_longer_plan_begins_with_the_shorter(
    clips: ClipTable, audio: ClipAudio
) -> None:
    plan = plan_mixtures(clips, 30, 7, audio=audio, seconds=0.5)
    assert plan == plan_mixtures(clips, 30, 7, audio=audio, seconds=0.5)
    assert plan[:10] == plan_mixtures(clips, 10, 7, audio=audio, seconds=0.5)
    assert plan != plan_mixtures(clips, 30, 8, audio=audio, seconds=0.5)


def test_memory_and_disk_give_one_plan(clips: ClipTable, audio: ClipAudio) -> None:
    disk = ClipAudio(clips, RATE, memory_limit=0)
    assert plan_mixtures(clips, 20, 0, audio=audio) == plan_mixtures(clips, 20, 0, audio=disk)


def test_embeddings_change_nothing_where_labels_are_known(
    clips: ClipTable, audio: ClipAudio
) -> None:
    embedded = with_embeddings(clips)
    assert plan_mixtures(embedded, 20, 0, audio=audio) == plan_mixtures(clips, 20, 0, audio=audio)


@pytest.mark.parametrize("missing", ["caption", "label"])
def test_target_and_interferer_have_different_texts(
    clips: ClipTable, audio: ClipAudio, missing: str
) -> None:
    for mixture in plan_mixtures(without(clips, missing), 60, 0, audio=audio):
        assert clips.label is not None
        assert clips.label[mixture.target] != clips.label[mixture.interferer]


def test_levels_are_as_asked_and_both_sounds_are_there(clips: ClipTable, audio: ClipAudio) -> None:
    for snr in (0.0, (-10.0, 10.0)):
        for mixture in plan_mixtures(clips, 24, 0, snr, audio=audio, seconds=0.25):
            sound = render(mixture, audio)
            assert sound.mixture.shape == (2000,)
            found = 20 * np.log10(rms(sound.target) / rms(sound.interferer))
            assert found == pytest.approx(mixture.snr_db, abs=1e-3)
            assert mixture.snr_db == 0.0 if snr == 0.0 else abs(mixture.snr_db) <= 10


def test_every_clip_is_a_target(clips: ClipTable, audio: ClipAudio) -> None:
    plan = plan_mixtures(clips, 12, 0, audio=audio)
    assert sorted(mixture.target for mixture in plan) == list(range(12))


def test_none_is_too_few(clips: ClipTable, audio: ClipAudio) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        plan_mixtures(clips, 0, 0, audio=audio)
