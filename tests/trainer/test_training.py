from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from cache_store.errors import (
    ChangedPlanError,
    DataError,
    EmptyInputError,
    SpaceMismatchError,
    StorageError,
    UsageError,
)
from cache_store.manifest import named_space
from tests.trainer.world import DIM, World, write_cache
from trainer.checkpoint import load_checkpoint
from trainer.config import TrainConfig
from trainer.journal import read_history
from trainer.run import RunFolder, load_model, read_record
from trainer.training import train

ROOT = Path(__file__).parents[2]


def weights(run: Path, which: str = "last") -> dict[str, bytes]:
    """Everything that a checkpoint holds, as bytes."""
    checkpoint = load_checkpoint(RunFolder(run).checkpoint(which))
    groups = {
        "model": checkpoint.model,
        "optimizer": checkpoint.optimizer,
        "average": checkpoint.average,
    }
    return {
        f"{group} {name}": tensor.numpy().tobytes()
        for group, tensors in groups.items()
        for name, tensor in tensors.items()
    }


def command(config: TrainConfig, path: Path, *flags: str) -> list[str]:
    """The command line that trains with `config`."""
    path.write_text(config.to_toml())
    code = "from trainer.cli import main; main()"
    return [sys.executable, "-c", code, "train", "--config", str(path), *flags]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if (run / "checkpoints" / "last.safetensors").exists() and any(
            line["step"] >= step for line in read_history(RunFolder(run))
        ):
            return
        time.sleep(0.01)
    raise AssertionError(process.communicate())


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9, "accumulate": 2, "early_stop": 9}])
def test_a_killed_run_ends_with_the_bits_of_one_that_was_never_killed(
    world: World, tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = world.config(steps=20, valid_every=5, out=str(tmp_path / "straight"), **changes)
    killed_config = config.replace(out=str(tmp_path / "killed"))
    killed = start(command(killed_config, tmp_path / "killed.toml"))
    wait_for_step(tmp_path / "killed", 10, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    step = load_checkpoint(RunFolder(tmp_path / "killed").last).step
    assert 5 <= step < 20

    with pytest.raises(UsageError, match=rf"holds a run at step {step} of 20.*--resume"):
        train(killed_config)

    resumed = start(command(killed_config, tmp_path / "killed.toml", "--resume"))
    summary, told = resumed.communicate()
    assert resumed.returncode == 0, told
    assert "resumed from step" in summary
    train(config)
    assert weights(tmp_path / "killed") == weights(tmp_path / "straight")
    assert weights(tmp_path / "killed", "best") == weights(tmp_path / "straight", "best")
    # Every step is told once, and alike.
    histories = [read_history(RunFolder(tmp_path / name)) for name in ("killed", "straight")]
    losses = [
        [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"]
        for lines in histories
    ]
    assert losses[0] == losses[1]
    assert [step for step, _ in losses[0]] == list(range(1, 21))


def test_an_interrupted_run_saves_the_step_at_hand(world: World, tmp_path: Path) -> None:
    config = world.config(steps=5000, valid_every=1000, valid_where="", out=str(tmp_path / "run"))
    process = start(command(config, tmp_path / "run.toml"))
    deadline = time.monotonic() + 120
    while not read_history(RunFolder(tmp_path / "run")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in told.splitlines()[-1]
    assert "Traceback" not in told
    last = read_history(RunFolder(tmp_path / "run"))[-1]["step"]
    assert load_checkpoint(RunFolder(tmp_path / "run").last).step == last


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(
    world: World, tmp_path: Path
) -> None:
    runs = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        config = world.config(out=str(tmp_path / name), seed=seed, valid_where="")
        train(config)
        runs[name] = weights(tmp_path / name)
    assert runs["a"] == runs["b"] != runs["c"]


@pytest.mark.parametrize("strategy", ["audio", "top1", "topk-mean", "caption"])
def test_every_strategy_trains_and_is_recorded(world: World, tmp_path: Path, strategy: str) -> None:
    done = train(world.config(strategy=strategy, k=2, out=str(tmp_path / "run")))
    assert done.result.steps == 4
    assert done.query_kind == "caption"
    record = read_record(RunFolder(tmp_path / "run"))
    assert record.strategy == strategy
    assert TrainConfig.from_toml(tmp_path / "run" / "config.toml").strategy == strategy
    kinds = {line["kind"] for line in read_history(RunFolder(tmp_path / "run"))}
    retrieves = strategy in ("top1", "topk-mean")
    assert kinds == {"train", "valid"} | ({"cache"} if retrieves else set())


def test_it_ends_early_where_validation_gets_no_better(world: World, tmp_path: Path) -> None:
    # So high a rate that the separator gets worse and stays so.
    config = world.config(
        steps=40, valid_every=1, early_stop=3, lr=0.5, schedule="constant", out=str(tmp_path / "r")
    )
    done = train(config)
    scores = [line for line in read_history(RunFolder(tmp_path / "r")) if line["kind"] == "valid"]
    best = max(scores, key=lambda line: line["sdri"])
    assert done.result.steps == best["step"] + 3 == scores[-1]["step"] < 40
    assert done.result.finished and done.result.best["step"] == best["step"]
    with pytest.raises(UsageError, match="the folder holds a finished run"):
        train(config)
    before = weights(tmp_path / "r")
    again = train(config, resume=True)
    assert again.result.finished and again.result.steps == done.result.steps
    assert weights(tmp_path / "r") == before


def test_the_average_of_the_weights_is_what_is_validated_and_separates(
    world: World, tmp_path: Path
) -> None:
    config = world.config(steps=6, ema=0.5, lr=0.01, out=str(tmp_path / "run"))
    done = train(config)
    folder = RunFolder(tmp_path / "run")
    last, best = load_checkpoint(folder.last), load_checkpoint(folder.best)
    assert any(not torch.equal(last.average[name], last.model[name]) for name in last.model)
    assert not best.average
    loaded, _ = load_model(folder, "last")
    torch.testing.assert_close(dict(loaded.state_dict()), dict(last.average), rtol=0, atol=0)
    if done.result.best["step"] == 6:
        assert all(torch.equal(best.model[name], last.average[name]) for name in best.model)
    # Training itself is not touched by it.
    train(config.replace(ema=0.0, out=str(tmp_path / "plain")))
    plain = load_checkpoint(RunFolder(tmp_path / "plain").last)
    assert all(torch.equal(plain.model[name], last.model[name]) for name in last.model)


def test_it_learns_to_tell_two_tones_apart_by_text(world: World, tmp_path: Path) -> None:
    config = world.config(
        strategy="caption",
        steps=80,
        batch_size=6,
        lr=3e-3,
        valid_every=40,
        valid_mixtures=12,
        out=str(tmp_path / "run"),
        where="",
        valid_where="fold >= 0",
    )
    done = train(config)
    # An untrained mask of one half gives 3 dB; pure tones an octave apart are easy.
    assert done.result.best["sdri"] > 6


def test_retrieval_hardly_costs_a_step(world: World, tmp_path: Path) -> None:
    done = train(world.config(out=str(tmp_path / "run"), steps=10))
    assert 0 < done.result.retrieval_share < 0.05


def test_a_finished_run_is_never_trained_over(run: Path, world: World) -> None:
    before = weights(run)
    with pytest.raises(UsageError, match="the folder holds a finished run"):
        train(world.config())
    assert weights(run) == before


def test_resuming_a_finished_run_changes_nothing(run: Path, world: World, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    done = train(world.config(out=str(copy)), resume=True)
    assert (done.result.steps, done.resumed_from) == (4, 4)
    assert weights(copy) == weights(run)


def test_resume_begins_a_run_that_is_not_there(world: World, tmp_path: Path) -> None:
    assert train(world.config(out=str(tmp_path / "run")), resume=True).result.steps == 4


def test_other_settings_do_not_go_on_with_a_run(run: Path, world: World, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    config = world.config(out=str(copy), lr=0.5, seed=3)
    with pytest.raises(ChangedPlanError, match=r"expected lr 0.001, seed 0, found lr 0.5, seed 3"):
        train(config, resume=True)


def test_another_cache_does_not_go_on_with_a_run(world: World, tmp_path: Path, run: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    cache = shutil.copytree(world.cache, tmp_path / "cache")
    train(world.config(out=str(copy), cache=str(cache)), resume=True)
    from cache_store.writer import open_writer

    with open_writer(cache) as writer:
        writer.publish(data=(*writer.current.data, *writer.current.data))
    with pytest.raises((ChangedPlanError, DataError)):
        train(world.config(out=str(copy), cache=str(cache)), resume=True)


def test_a_cache_of_another_space_is_refused(world: World, tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache", named_space("other", DIM))
    with pytest.raises(SpaceMismatchError, match=r"expected other .*found test"):
        train(world.config(cache=str(cache), out=str(tmp_path / "run")))


def test_bad_clips_are_left_out_and_named(world: World, tmp_path: Path) -> None:
    audio = shutil.copytree(world.audio.parent, tmp_path / "audio")
    (audio / "bell" / "0.flac").write_bytes(b"")
    soundfile.write(audio / "dog" / "0.wav", np.zeros(0), 8000)
    table = pq.read_table(audio / "clips.parquet")
    names = table["path"].to_pylist()
    names[names.index("dog/0.flac")] = "dog/0.wav"
    nan = audio / "rain" / "0.wav"
    soundfile.write(nan, np.full(8000, np.nan), 8000, subtype="FLOAT")
    names[names.index("rain/0.flac")] = "rain/0.wav"
    table = table.set_column(0, "path", [names])
    pq.write_table(table, audio / "clips.parquet")
    run = tmp_path / "run"
    done = train(world.config(audio=str(audio / "clips.parquet"), out=str(run)))
    assert (done.clips, done.rejects) == (6, 3)
    lines = (run / "rejects.csv").read_text().splitlines()
    assert lines[0] == "name,reason"
    assert [line.split(",")[0] for line in lines[1:]] == ["bell/0.flac", "dog/0.wav", "rain/0.wav"]


def test_an_empty_folder_is_told(world: World, tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    with pytest.raises(EmptyInputError):
        train(world.config(audio=str(tmp_path / "audio"), out=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_a_missing_cache_says_how_to_make_one(world: World, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lqtse-cache generate"):
        train(world.config(cache=str(tmp_path / "none"), out=str(tmp_path / "run")))


def test_an_output_that_cannot_be_written_is_told(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="a file, not a folder"):
        train(world.config(out=str(tmp_path / "file")))
    with pytest.raises(StorageError, match="a part of the path is a file"):
        train(world.config(out=str(tmp_path / "file" / "run")))


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer import loop

    write, calls = loop.save_checkpoint, []

    def fill_up(path: Path, checkpoint: Any) -> None:
        calls.append(checkpoint.step)
        if checkpoint.step == 4:
            raise StorageError("cannot write: the disk is full", where=path)
        write(path, checkpoint)

    monkeypatch.setattr(loop, "save_checkpoint", fill_up)
    config = world.config(out=str(tmp_path / "run"))
    with pytest.raises(StorageError):
        train(config)
    monkeypatch.undo()
    assert load_checkpoint(RunFolder(tmp_path / "run").last).step == 2
    assert train(config, resume=True).result.steps == 4


def test_validation_on_training_clips_is_warned_of(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(world.config(where="", out=str(tmp_path / "run")))
    assert "3 clips are trained on and validated on" in capsys.readouterr().err


def test_without_held_out_clips_it_trains_and_says_so(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = train(world.config(valid_where="", out=str(tmp_path / "run")))
    assert "no validation" in capsys.readouterr().err
    assert not done.result.best
    assert not RunFolder(tmp_path / "run").best.exists()
    assert RunFolder(tmp_path / "run").last.exists()


def test_without_captions_it_asks_with_what_is_retrieved(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = tmp_path / "audio"
    shutil.copytree(world.audio.parent, audio)
    table = pq.read_table(audio / "clips.parquet").drop_columns(["label", "caption"])
    pq.write_table(table, audio / "clips.parquet")
    done = train(world.config(audio=str(audio / "clips.parquet"), out=str(tmp_path / "run")))
    assert done.query_kind == "nearest caption"
    assert "no captions or labels" in capsys.readouterr().err


def test_curves_and_sounds_can_be_read_by_tensorboard(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    assert {"train/loss", "valid/sdri", "valid/si_sdri"} <= set(board.Tags()["scalars"])
    assert [event.step for event in board.Scalars("train/loss")] == [1, 2, 3, 4]
    assert {"sound0/mixture", "sound0/target", "sound0/estimate"} <= set(board.Tags()["audio"])


def test_it_trains_off_the_main_thread(world: World, tmp_path: Path) -> None:
    results: list[Any] = []
    config = world.config(out=str(tmp_path / "run"))
    thread = threading.Thread(target=lambda: results.append(train(config)))
    thread.start()
    thread.join()
    assert results[0].result.steps == 4


def test_two_workers_make_the_same_mixtures_as_none(world: World, tmp_path: Path) -> None:
    config = world.config(workers=2, out=str(tmp_path / "2"))
    # A process of its own: forking one with as many threads as pytest's is asking for trouble.
    process = start(command(config, tmp_path / "2.toml"))
    _, told = process.communicate()
    assert process.returncode == 0, told
    train(config.replace(workers=0, out=str(tmp_path / "0")))
    assert weights(tmp_path / "0") == weights(tmp_path / "2")
