"""What examples/choices/run.py works out by itself, without its trainings."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from cache_store.errors import DataError
from cache_store.spaces.tiny.recordings import write_recordings
from trainer.ablation import read_ablation

FOLDER = Path(__file__).parents[2] / "examples" / "choices"


@pytest.fixture(scope="module")
def run() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("choices_run", FOLDER / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_plan_can_be_read_and_trains_alike(tmp_path: Path) -> None:
    plans = [read_ablation(path, tmp_path / "out") for path in sorted(FOLDER.glob("*.toml"))]
    assert len(plans) == 5
    shared = ("steps", "batch_size", "seconds", "lr", "model", "avoid", "valid_where")
    settings = {
        tuple(getattr(job.config, name) for name in shared) for plan in plans for job in plan.jobs
    }
    assert len(settings) == 1
    for plan in plans:
        for job in plan.jobs:
            # The strategies are chosen where no test clip is; all else is scored on those.
            validated = job.evaluate.where == job.config.valid_where
            assert validated == (plan.jobs[0].arm.name == "top1")


def test_sounds_are_known_by_what_people_call_them(run: ModuleType) -> None:
    assert run.names("Infants cry, a bell rings", "baby")
    assert run.names("Infants cry, a bell rings", "bell")
    # Whole words: a belly, a category and a train of thought's brain are none of these.
    assert not run.names_any("a belly of categories, the brain")
    assert not any(run.names_any(concept) for concept in run.other_concepts())
    assert len(run.other_concepts()) > 500
    assert all(any(run.names(concept, kind) for concept in run.CONCEPTS) for kind in run.KINDS)


def test_captions_of_people_are_parted_evenly(run: ModuleType) -> None:
    texts = [f"{kind} number {n}" for n in range(100) for kind in run.KINDS]
    texts += [f"something else {n}" for n in range(2500)]
    sets = run.human_sets(texts)
    assert {name: len(chosen) for name, chosen in sets.items()} == {
        "human-100": 100,
        "human-1000": 1000,
        "human-other-1000": 1000,
    }
    counts = [sum(run.names(text, kind) for text in sets["human-1000"]) for kind in run.KINDS]
    assert max(counts) - min(counts) <= 1
    assert not any(run.names_any(text) for text in sets["human-other-1000"])
    with pytest.raises(DataError, match="too few"):
        run.human_sets(texts[:500])


def test_long_recordings_hold_three_kinds_each(run: ModuleType, tmp_path: Path) -> None:
    kinds = ["dog", "rain", "bell"]
    write_recordings(tmp_path / "short", kinds, 2, 0, seconds=0.25)
    run.make_long(tmp_path / "short", tmp_path / "long")
    labels = run._column(tmp_path / "short" / "truth.csv", "label")
    waves = [soundfile.read(path)[0] for path in sorted((tmp_path / "short").glob("*.wav"))]
    long = sorted((tmp_path / "long").iterdir())
    assert len(long) == 2
    used = []
    for path in long:
        parts = np.split(soundfile.read(path)[0], 3)
        found = [
            next(at for at, wave in enumerate(waves) if np.array_equal(wave, part))
            for part in parts
        ]
        assert {labels[at] for at in found} == set(kinds)
        used += found
    assert sorted(used) == [*range(6)]
