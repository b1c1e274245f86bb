"""The statistics of an ablation on results whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache_store.errors import DataError, MismatchError
from tests.trainer.ablation.plans import plan
from tests.trainer.world import World
from trainer.ablation import Ablation, summarise_arms
from trainer.ablation.report import results_page, table

GAIN = {"audio": 0.0, "top1": 0.7}


def write_results(ablation: Ablation, mixtures: int = 60) -> None:
    """Hard and easy mixtures that all arms share, an effect of the seed, and the gain."""
    rng = np.random.default_rng(1)
    hard = rng.normal(5.0, 4.0, mixtures)
    for job in ablation.jobs:
        job.results.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.normal(0.0, 0.2, mixtures)
        values = hard + GAIN[job.arm.name] + 0.1 * job.config.seed + noise
        rows = [f"t{i // 2}.wav,n{i}.wav,0.0,{value},{value - 1}" for i, value in enumerate(values)]
        head = "target,interferer,snr_db,sdri,si_sdri"
        job.results.write_text("\n".join([head, *rows]) + "\n")


def test_pairs_find_a_gain_that_the_spread_of_mixtures_would_hide(
    world: World, tmp_path: Path
) -> None:
    ablation = plan(world, tmp_path, top='seeds = [0, 1, 2]\nupper = "top1"')
    write_results(ablation)
    audio, top1 = summarise_arms(ablation)
    assert audio.to_baseline is None
    assert top1.to_upper is None
    gain = top1.to_baseline
    assert gain is not None
    assert audio.to_upper is not None
    assert gain.low < 0.7 < gain.high
    assert gain.high - gain.low < 0.3 < audio.means["sdri"].high - audio.means["sdri"].low
    assert audio.to_upper.mean == pytest.approx(-gain.mean)
    # The seeds' means rise by 0.1 each: a standard deviation of 0.1, and little noise.
    assert top1.spread == pytest.approx(0.1, abs=0.04)
    assert top1.means["sdri"].mean == pytest.approx(np.mean(top1.seeds))


def test_an_unfinished_arm_is_left_out_and_named(world: World, tmp_path: Path) -> None:
    ablation = plan(world, tmp_path)
    write_results(ablation)
    ablation.jobs[-1].results.unlink()
    (audio,) = summarise_arms(ablation)
    assert audio.arm.name == "audio"
    page = results_page(ablation, [audio], "lqtse ablate x.toml")
    assert "Not finished, so not in the table: top1." in page
    ablation.jobs[0].results.unlink()
    with pytest.raises(DataError, match="no arm has results of all its seeds"):
        summarise_arms(ablation)


def test_results_of_other_mixtures_are_refused(world: World, tmp_path: Path) -> None:
    ablation = plan(world, tmp_path)
    write_results(ablation)
    path = ablation.jobs[-1].results
    path.write_text(path.read_text().replace("n3.wav", "other.wav"))
    with pytest.raises(MismatchError, match="different mixtures"):
        summarise_arms(ablation)


def test_the_table_has_a_row_an_arm(world: World, tmp_path: Path) -> None:
    ablation = plan(world, tmp_path, top='seeds = [0]\nupper = "top1"')
    write_results(ablation)
    lines = table(ablation, summarise_arms(ablation)).splitlines()
    assert len(lines) == 4
    assert "| SDRi, minus audio | SDRi, minus top1 |" in lines[0]
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| `audio` |")
