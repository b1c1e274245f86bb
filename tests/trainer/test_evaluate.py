from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from cache_store.errors import DataError, SpaceMismatchError, StorageError, UsageError
from cache_store.spaces import load_space
from cache_store.spaces.tiny.recordings import write_recordings
from tests.trainer.world import World
from trainer.checkpoint import Checkpoint, save_checkpoint
from trainer.clap_score import SCORES
from trainer.eval_settings import EvalSettings
from trainer.evaluate import METRICS, evaluate, write_results
from trainer.held_out import HeldOutMixture
from trainer.metrics import all_metrics
from trainer.models import build_model, size_record
from trainer.run import RunFolder, RunRecord, write_record
from trainer.separate import Separator
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


def test_absent_queries_are_of_the_third_kind_and_their_level_is_told(
    run: Path, world: World
) -> None:
    done = evaluate(run, settings(world))
    for row in done.rows:
        kinds = {str(row[name]).split("/")[0] for name in ("target", "interferer")}
        assert str(row["absent_query"]).removeprefix("a ") not in kinds
        assert str(row["absent_query"]) in {"a bell", "a dog", "a rain"}
    for name in ("level", "level_absent"):
        values = [float(str(row[name])) for row in done.rows]
        assert done.means[name].mean == pytest.approx(np.mean(values), abs=1e-5)


def test_where_two_kinds_are_all_there_is_no_absent_query(run: Path, world: World) -> None:
    done = evaluate(run, settings(world, where="fold == 3 and label != 'rain'"))
    assert "level" in done.means
    assert "level_absent" not in done.means
    assert "absent_query" not in done.rows[0]


def test_what_to_leave_out_is_the_interferers_text(run: Path, world: World) -> None:
    plain, steered = (evaluate(run, settings(world, say_not=said)) for said in (False, True))
    assert plain.means["sdri"] != steered.means["sdri"]
    separator = Separator.load(run, device="cpu")
    row = steered.rows[0]
    folder = world.folder / "steered"
    evaluate(run, settings(world, say_not=True, sounds=folder, sounds_count=1))
    mixture, rate = soundfile.read(folder / "0000-mixture.wav", dtype="float32")
    negative = f"a {str(row['interferer']).split('/')[0]}"
    expected = separator.separate(mixture, rate, query=str(row["query"]), negative=negative)
    estimate, _ = soundfile.read(folder / "0000-estimate.wav", dtype="float32")
    np.testing.assert_allclose(estimate, expected, atol=1e-5)


def test_the_worst_come_first_and_are_whole(run: Path, world: World, tmp_path: Path) -> None:
    done = evaluate(run, settings(world, sounds=tmp_path / "a", sounds_count=3, worst=True))
    order = sorted(done.rows, key=lambda row: float(str(row["sdri"])))
    with (tmp_path / "a" / "index.csv").open(newline="") as file:
        index = list(csv.DictReader(file))
    assert [int(one["mixture"]) for one in index] == [row["mixture"] for row in order[:3]]
    for one in index:
        mixture, target, estimate = (
            torch.from_numpy(soundfile.read(tmp_path / "a" / name, dtype="float32")[0])
            for name in (one["mixture_file"], one["target_file"], one["estimate_file"])
        )
        found = all_metrics(estimate[None], target[None], mixture[None])
        assert float(found["sdri"]) == pytest.approx(float(one["sdri"]), abs=1e-4)


def test_clap_score_is_told_where_the_space_has_no_ears(run: Path, world: World) -> None:
    with pytest.raises(UsageError, match="embeds audio"):
        evaluate(run, settings(world, clap_score=True))


def test_clap_score_of_a_run_in_a_space_that_hears(tmp_path: Path) -> None:
    """A run with the weights that it began with, in the space `tiny`."""
    tiny = load_space("tiny")
    audio = write_recordings(tmp_path / "audio", ["dog", "rain", "siren"], 2, 0, seconds=0.5)
    model = build_model("small", condition_dim=tiny.dim, sample_rate=8000, seed=0)
    record = RunRecord(
        strategy="top1", model="small", sizes=size_record(model.size), sample_rate=8000,
        seconds=0.5, space=tiny.record, space_spec="tiny", cache={"path": "", "data_hash": ""},
        seed=0,
    )  # fmt: skip
    folder = RunFolder(tmp_path / "run")
    folder.best.parent.mkdir(parents=True)
    write_record(folder, record)
    save_checkpoint(folder.best, Checkpoint(0, model.state_dict()))
    options = EvalSettings(
        str(audio), mixtures=4, clap_score=True, sounds=tmp_path / "sounds", sounds_count=1
    )
    done = evaluate(folder.path, options)
    row = done.rows[0]
    estimate, rate = soundfile.read(tmp_path / "sounds" / "0000-estimate.wav", dtype="float32")
    expected = tiny.embed_audio([estimate], rate)[0] @ tiny.embed_text([str(row["query"])])[0]
    assert float(str(row["clap_score"])) == pytest.approx(float(expected), abs=1e-4)
    assert set(SCORES) < set(done.means)
    asked = evaluate(folder.path, replace(options, queries="audio", sounds=None))
    assert "clap_score_target" in asked.means
    assert "clap_score" not in asked.means


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
