"""Running an ablation: once each, on after a death, and past failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cache_store import console
from cache_store.errors import ChangedPlanError
from cache_store.files import hash_file
from tests.trainer.ablation.plans import ARMS, TRAIN, plan, write_plan
from tests.trainer.world import World
from trainer.ablation import Ablation, Job
from trainer.ablation.execute import AblationError, Runner, evaluate_command
from trainer.cli import app
from trainer.run import RunFolder, read_record


def run(ablation: Ablation, parallel: int = 1) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []

    def report(what: str, job: Job) -> None:
        told.append((what, job.name))

    Runner(ablation, parallel, report).run()
    return told


def test_a_command_makes_runs_results_table_and_plot(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [
        *("ablate", write_plan(tmp_path, top="seeds = [0]"), "--out", out, "--jobs", 2),
        *("--cache", world.cache, "--audio", world.audio),
    ]
    arguments = [str(word) for word in words]
    assert console.run(app, "lqtse", [*arguments, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["to_do"] == ["audio, seed 0", "top1, seed 0"]
    assert not out.exists()
    assert console.run(app, "lqtse", arguments) == 0
    assert "| `top1` |" in capsys.readouterr().out
    assert "| `top1` |" in (out / "ablate.md").read_text()
    assert (out / "ablate.png").read_bytes().startswith(b"\x89PNG")
    written = {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()}
    assert len(written) == 2
    assert console.run(app, "lqtse", [*arguments, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["top1"]["to_baseline"]["low"] <= facts["top1"]["to_baseline"]["high"]
    assert {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()} == written


def test_a_failure_holds_up_nothing_else_and_is_told(world: World, tmp_path: Path) -> None:
    arms = ARMS + '\n[[arm]]\nname = "lost"\nstrategy = "top1"\ncache = "nowhere"\n'
    ablation = plan(world, tmp_path, arms=arms, top="seeds = [0]")
    with pytest.raises(AblationError, match=r"1 of the runs failed.*nowhere") as caught:
        run(ablation)
    assert caught.value.exit_code == 3
    assert [job.results.is_file() for job in ablation.jobs] == [True, True, False]


def test_an_arm_waits_for_the_one_that_it_begins_with(world: World, tmp_path: Path) -> None:
    tuned = '\n[[arm]]\nname = "tuned"\ninit = "arm:{}"\nstrategy = "top1"\n'
    lost = '\n[[arm]]\nname = "lost"\ncache = "nowhere"\n'
    more = tuned.format("audio") + lost + tuned.format("lost").replace("tuned", "never")
    first = ARMS.split("\n\n")[0]
    ablation = plan(world, tmp_path, arms=first + more, top="seeds = [0]")
    with pytest.raises(AblationError, match=r"1 of the runs failed.*nowhere"):
        run(ablation, parallel=4)
    assert [job.results.is_file() for job in ablation.jobs] == [True, True, False, False]
    audio, begun = ablation.jobs[:2]
    record = read_record(RunFolder(Path(begun.config.out)))
    best = RunFolder(Path(audio.config.out)).best
    assert record.init == {
        "source": str(Path(audio.config.out).absolute()),
        "sha256": hash_file(best),
    }


def test_killed_and_run_again_it_goes_on_from_the_checkpoint(world: World, tmp_path: Path) -> None:
    train = TRAIN.replace("steps = 2", "steps = 200")
    ablation = plan(world, tmp_path, train=train, arms=ARMS.split("\n\n")[0], top="seeds = [0]")
    out = ablation.out
    command = [
        *(sys.executable, "-m", "trainer", "ablate", str(tmp_path / "ablate.toml")),
        *("--out", str(out), "--cache", str(world.cache), "--audio", str(world.audio)),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = out / "runs" / "audio-s0" / "checkpoints" / "last.safetensors"
    for _ in range(600):
        if checkpoint.exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    (job,) = ablation.jobs
    assert not job.results.exists()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    log = (out / "logs" / "audio-s0.txt").read_text()
    assert "resumed from step" in log
    assert job.results.is_file()


def test_interrupted_between_runs_with_an_arm_that_fails(world: World, tmp_path: Path) -> None:
    lost = '\n[[arm]]\nname = "lost"\nstrategy = "top1"\ncache = "nowhere"\n'
    first, second = ARMS.split("\n\n")
    ablation = plan(world, tmp_path, arms=f"{first}\n{lost}\n{second}", top="seeds = [0]")
    out, (audio, _, top1) = ablation.out, ablation.jobs
    command = [
        *(sys.executable, "-m", "trainer", "ablate", str(tmp_path / "ablate.toml")),
        *("--out", str(out), "--cache", str(world.cache), "--audio", str(world.audio)),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(2400):
        if audio.results.exists():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert audio.results.is_file()
    assert not top1.results.exists()
    assert not (out / "ablate.md").exists()
    before = audio.results.stat().st_mtime_ns
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 3
    assert "1 of the runs failed" in again.stderr
    assert "nowhere" in again.stderr
    assert audio.results.stat().st_mtime_ns == before
    assert (out / "logs" / "audio-s0.txt").read_text().count("$ lqtse train") == 1
    page = (out / "ablate.md").read_text()
    assert "| `audio` |" in page
    assert "| `top1` |" in page
    assert "Not finished, so not in the table: lost." in page


def test_cores_are_shared_out(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ablation = plan(world, tmp_path)
    two = Runner(ablation, 2, lambda what, job: None)._environment()
    assert two["OMP_NUM_THREADS"] == str(max(1, (os.cpu_count() or 1) // 2))
    assert "OMP_NUM_THREADS" not in Runner(ablation, 1, lambda what, job: None)._environment()


def test_the_evaluation_is_the_planned_one(world: World, tmp_path: Path) -> None:
    job = plan(world, tmp_path).jobs[0]
    words = evaluate_command(job)
    assert words[:2] == ("evaluate", job.config.out)
    assert words[words.index("--mixtures") + 1] == "4"
    assert words[words.index("--out") + 1] == str(job.results)
    evaluate = replace(job.evaluate, clap_score=True, say_not=True)
    assert evaluate_command(replace(job, evaluate=evaluate))[-2:] == ("--clap-score", "--say-not")


def test_a_run_made_with_another_default_is_not_taken_for_the_planned_one(
    world: World, tmp_path: Path
) -> None:
    ablation = plan(world, tmp_path, arms=ARMS.split("\n\n")[0], top="seeds = [0]")
    run(ablation)
    (job,) = ablation.jobs
    settings = Path(job.config.out) / "config.toml"
    settings.write_text(settings.read_text().replace("lr = 0.001", "lr = 0.002"))
    with pytest.raises(ChangedPlanError, match=r"lr 0.001.*|lr 0.002"):
        run(ablation)
