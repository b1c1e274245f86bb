"""The measures against cases with known answers, and the shipped weights against a floor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from cache_store.spaces.base import unit
from cache_store.spaces.tiny.evaluate import (
    Clips,
    accuracy,
    app,
    gap,
    procedural_clips,
    retrieval,
)
from cache_store.spaces.tiny.sounds import HELD_OUT_KINDS, KINDS, TRAINED_KINDS, phrases
from cache_store.spaces.tiny.space import load_tiny
from cache_store.spaces.tiny.vocabulary import WORDS

# The shipped weights reach 0.91 on 20 clips a kind; the floors leave room for chance with few
# clips, and for other versions of the libraries.
FLOOR_DEMO = 0.75
FLOOR_TEXT = 0.8


class Oracle:
    """A space that knows the kinds by their captions: its text vectors are one-hot."""

    kinds = ("dog", "rain", "siren")

    def __init__(self, wrong: Sequence[str] = ()) -> None:
        self.wrong = wrong

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [self._of(text) for text in texts]
        return np.eye(len(self.kinds), dtype=np.float32)[rows]

    def _of(self, text: str) -> int:
        def said(kind: str) -> bool:
            words = WORDS[kind]
            known = [*words.tags, *words.things, *words.wholes, *sum(words.doings, ())]
            return any(item.casefold() in text.casefold() for item in known if len(item) > 2)

        return [said(kind) for kind in self.kinds].index(True)


def clips_of(kinds: Sequence[str], heard: Sequence[str]) -> Clips:
    rows = [Oracle.kinds.index(kind) for kind in heard]
    return Clips(np.eye(len(Oracle.kinds), dtype=np.float32)[rows], tuple(kinds))


def test_accuracy_counts_the_right_nearest_captions() -> None:
    truth = ["dog", "dog", "rain", "siren"]
    space = Oracle()
    assert accuracy(space, clips_of(truth, truth), Oracle.kinds) == 1.0  # type: ignore[arg-type]
    heard = ["dog", "rain", "rain", "dog"]
    assert accuracy(space, clips_of(truth, heard), Oracle.kinds) == 0.5  # type: ignore[arg-type]


def test_retrieval_of_a_perfect_space_is_perfect() -> None:
    truth = [kind for kind in Oracle.kinds for _ in range(4)]
    found = retrieval(Oracle(), clips_of(truth, truth), seed=0)  # type: ignore[arg-type]
    assert found == {
        f"{way}_r{k}": 1.0 for way in ("text_to_audio", "audio_to_text") for k in (1, 5)
    }


def test_the_gap_of_vectors_that_coincide_is_nothing() -> None:
    truth = [kind for kind in Oracle.kinds for _ in range(4)]
    found = gap(Oracle(), clips_of(truth, truth), seed=0)  # type: ignore[arg-type]
    assert found["distance_of_means"] == pytest.approx(0, abs=1e-6)
    assert found["paired_cosine"] == pytest.approx(1)
    assert found["other_cosine"] == pytest.approx(0)


def test_a_shift_between_the_clouds_is_their_gap() -> None:
    truth = list(Oracle.kinds)
    clips = clips_of(truth, truth)
    moved = Clips(clips.vectors + np.float32(0.1), clips.kinds)
    found = gap(Oracle(), moved, seed=0)  # type: ignore[arg-type]
    assert found["distance_of_means"] == pytest.approx(0.1 * np.sqrt(3), abs=1e-6)


def test_the_shipped_weights_hear_clips_of_the_demo_ranges() -> None:
    space = load_tiny("cpu")
    clips = procedural_clips(space, TRAINED_KINDS, 2, seed=9, split="demo")
    assert accuracy(space, clips, TRAINED_KINDS) >= FLOOR_DEMO


def test_the_shipped_weights_read_other_phrasings_of_a_kind() -> None:
    space = load_tiny("cpu")
    centres = unit(
        np.stack([space.embed_text(phrases(kind)[:8]).mean(axis=0) for kind in TRAINED_KINDS])
    )
    texts = [f"I hear {phrases(kind)[-1]} somewhere near here" for kind in TRAINED_KINDS]
    nearest = (space.embed_text(texts) @ centres.T).argmax(axis=1)
    assert np.mean(nearest == np.arange(len(TRAINED_KINDS))) >= FLOOR_TEXT


@pytest.mark.slow
def test_the_command_reports_every_measure(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["--per-kind", "1", "--json"])
    assert answer.exit_code == 0, answer.output
    report = json.loads(answer.stdout.splitlines()[-1])
    assert set(report) == {
        "fingerprint",
        "zero-shot_accuracy",
        "retrieval,_demo_ranges",
        "modality_gap,_demo_ranges",
        "speed",
    }
    assert len(report["zero-shot_accuracy"]) == 4
    assert len(KINDS) == len(TRAINED_KINDS) + len(HELD_OUT_KINDS)
