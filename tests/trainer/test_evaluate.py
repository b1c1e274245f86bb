from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from cache_store.errors import DataError, SpaceMismatchError, StorageError
from tests.trainer.world import World
from trainer.eval_settings import EvalSettings
from trainer.evaluate import METRICS, evaluate, write_results
from trainer.held_out import HeldOutMixture
from trainer.metrics import all_metrics
from trainer.validate import HeldOut, separate_all, validate


def settings(world: World, **changes: Any) -> EvalSettings:
    return EvalSettings(
        **{"audio": str(world.audio), "where": "fold == 3", "mixtures": 7, **changes}
    )


def test_there_is_a_row_a_mixture_and_it_adds_up(run: Path, world: World, tmp_path: Path) -> None:
    done = evaluate(run, settings(world))
    write_results(tmp_path / "results.csv", done)
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    for row in rows:
        assert row["target"] != row["interferer"]
        assert row["query"] == f"a {row['label']}" == f"a {row['target'].split('/')[0]}"
        assert row["query_kind"] == "caption"
        # At 0 dB the mixture's own SDR is 0, and so the improvement is the SDR.
        assert float(row["sdr_mixture"]) == pytest.approx(0, abs=1e-3)
        assert float(row["sdri"]) == pytest.approx(float(row["sdr"]), abs=1e-3)
    for name in METRICS:
        values = [float(row[name]) for row in rows]
        assert done.means[name].mean == pytest.approx(np.mean(values), abs=1e-5)
        assert done.means[name].low <= done.means[name].mean <= done.means[name].high
    for label, scores in done.classes.items():
        own = [float(row["sdri"]) for row in rows if row["label"] == label]
        assert scores["sdri"] == pytest.approx(np.mean(own))
        assert scores["mixtures"] == len(own)


def test_the_same_flags_give_the_same_numbers(run: Path, world: World) -> None:
    assert evaluate(run, settings(world)) == evaluate(run, settings(world))
    assert evaluate(run, settings(world, seed=1)) != evaluate(run, settings(world))


def test_mixtures_do_not_depend_on_the_run(run: Path, world: World, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "run")
    names = ("target", "interferer", "snr_db", "sdr_mixture")
    plans = [
        [tuple(row[name] for name in names) for row in evaluate(which, options).rows]
        for which, options in (
            (run, settings(world)),
            (other, settings(world, queries="audio", checkpoint="last")),
        )
    ]
    assert plans[0] == plans[1]


def test_the_snr_is_that_of_the_mixtures(run: Path, world: World) -> None:
    done = evaluate(run, settings(world, snr=-4.0))
    for row in done.rows:
        assert row["sdr_mixture"] == pytest.approx(-4, abs=1e-2)


@pytest.mark.parametrize(("kind", "query"), [("caption", "a bell"), ("audio", "bell/")])
def test_every_kind_of_query(run: Path, world: World, kind: str, query: str) -> None:
    done = evaluate(run, settings(world, queries=kind))
    assert any(str(row["query"]).startswith(query) for row in done.rows)


def test_a_label_that_is_no_stored_text_is_told(run: Path, world: World) -> None:
    with pytest.raises(DataError, match="'bell'"):
        evaluate(run, settings(world, queries="label"))


def test_bad_settings_are_told(run: Path, world: World, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run here"):
        evaluate(tmp_path, settings(world))
    with pytest.raises(StorageError):
        write_results(run / "run.json" / "results.csv", evaluate(run, settings(world)))


def test_audio_embeddings_of_another_space_are_refused(
    run: Path, world: World, tmp_path: Path
) -> None:
    audio = shutil.copytree(world.audio.parent, tmp_path / "audio")
    table = pq.read_table(audio / "clips.parquet")
    table = table.replace_schema_metadata({"lqtse.space": "other"})
    pq.write_table(table, audio / "clips.parquet")
    changed = {"audio": str(audio / "clips.parquet")}
    with pytest.raises(SpaceMismatchError):
        evaluate(run, settings(world, queries="audio", **changed))
    # Text queries do not look at them.
    assert evaluate(run, settings(world, **changed)).rows


class Gate(torch.nn.Module):
    """Lets the mixture pass in proportion to the first value of the condition."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(1))

    def forward(self, mixture: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return self.gain * condition[:, :1] * mixture


def held_out(mixtures: int = 5) -> HeldOut:
    generator = torch.Generator().manual_seed(0)
    target, noise = torch.randn(2, mixtures, 400, generator=generator)
    return HeldOut(
        tuple(HeldOutMixture(i, 0, 0, 0, 400, 0.0) for i in range(mixtures)),
        target + noise,
        target,
        "caption",
        ("a",) * mixtures,
        torch.full((mixtures, 3), 0.5),
        torch.full((mixtures, 3), 1.0),
    )


def test_validation_is_the_mean_of_the_metrics_for_each_kind_of_query() -> None:
    mixtures = held_out()
    scores = validate(Gate(), mixtures, batch_size=2)
    expected = all_metrics(0.5 * mixtures.mixtures, mixtures.targets, mixtures.mixtures)
    for name in METRICS:
        assert scores[name] == pytest.approx(float(expected[name].mean()), abs=1e-5)
    # With audio queries the gate passes the mixture as it is: no improvement.
    assert scores["sdri_audio_query"] == pytest.approx(0, abs=1e-5)


def test_the_batch_size_changes_nothing_and_the_mode_is_left_alone() -> None:
    mixtures, model = held_out(), Gate().train()
    one, all_ = (separate_all(model, mixtures.mixtures, mixtures.texts, size) for size in (1, 100))
    assert torch.equal(one, all_)
    assert one.shape == (5, 400)
    assert model.training
