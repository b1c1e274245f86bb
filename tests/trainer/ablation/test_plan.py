"""Plans of ablations: what they hold, and everything that is wrong with them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.errors import ConfigError, UsageError
from tests.trainer.ablation.plans import ARMS, TRAIN, plan, write_plan
from tests.trainer.world import World
from trainer.ablation import read_ablation


def test_every_arm_is_trained_once_a_seed_and_differs_in_nothing_else(
    world: World, tmp_path: Path
) -> None:
    ablation = plan(world, tmp_path)
    assert [(job.arm.name, job.config.seed) for job in ablation.jobs] == [
        *(("audio", 0), ("top1", 0)),
        *(("audio", 1), ("top1", 1)),
    ]
    left, right, *_ = (job.config.to_dict() for job in ablation.jobs)
    assert {name for name in left if left[name] != right[name]} == {"strategy", "out"}
    assert {job.evaluate.audio for job in ablation.jobs} == {str(world.audio)}
    assert ablation.baseline.name == "audio"
    assert ablation.upper is None


def test_results_are_named_after_all_that_shapes_them(world: World, tmp_path: Path) -> None:
    once = plan(world, tmp_path).jobs[0].results
    assert plan(world, tmp_path).jobs[0].results == once
    other = plan(world, tmp_path, train=TRAIN.replace("steps = 2", "steps = 3"))
    assert other.jobs[0].results != once


def test_a_setting_that_came_later_changes_no_name(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    text = '[train]\naudio = "a"\ncache = "c"\n[[arm]]\nname = "top1"\n'
    path.write_text(text)
    # As named before `precision` came: else finished ablations would begin anew.
    (job,) = read_ablation(path, "out").jobs
    assert job.results.name == "top1-s0-eb008abd.csv"
    path.write_text(text + '[evaluate]\nprecision = "bf16"\n')
    (other,) = read_ablation(path, "out").jobs
    assert other.results.name != job.results.name


def test_all_faults_are_told_together(world: World, tmp_path: Path) -> None:
    arms = ARMS.replace('"top1"\nstrategy = "top1"', '"Audio!"\nstrategy = "topp1"\nseed = 3')
    top = 'seeds = [0, 0]\nbaseline = "none"\ncolour = 1'
    with pytest.raises(ConfigError) as caught:
        plan(world, tmp_path, arms=arms, top=top)
    text = caught.value.message
    for fault in (
        "`colour` is not a setting",
        "`seeds` must be different",
        "`baseline` must be the name of an arm",
        "`seed` is set by the ablation",
        "is there twice",
    ):
        assert fault in text
    with pytest.raises(ConfigError, match=r"`strategy` must be one of .*arm 'Audio!'"):
        plan(world, tmp_path, arms=arms)


def test_the_evaluation_is_checked_too(world: World, tmp_path: Path) -> None:
    arms = 'queries = "smell"\nmixture = 3\n' + ARMS
    with pytest.raises(ConfigError, match=r"`evaluate.mixture` is not.*`queries` must be one of"):
        plan(world, tmp_path, arms=arms)


@pytest.mark.parametrize("arms", ["", "arm = 3", "[[arm]]\nstrategy = 'audio'"])
def test_arms_are_needed(world: World, tmp_path: Path, arms: str) -> None:
    if arms == "arm = 3":
        with pytest.raises(ConfigError, match="at least one"):
            plan(world, tmp_path, arms="", top="seeds = [0]\narm = 3")
    else:
        with pytest.raises(ConfigError, match=r"at least one|must have a `name`"):
            plan(world, tmp_path, arms=arms)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such configuration file"):
        read_ablation(tmp_path / "none.toml", tmp_path)


def test_arms_and_seeds_can_be_chosen(world: World, tmp_path: Path) -> None:
    path = write_plan(tmp_path, top='upper = "audio"')
    flags = {"cache": str(world.cache), "audio": str(world.audio)}
    chosen = read_ablation(path, tmp_path, flags, only=["top1"], seeds=[5, 6])
    assert [job.name for job in chosen.jobs] == ["top1, seed 5", "top1, seed 6"]
    assert (chosen.baseline.name, chosen.upper) == ("top1", None)
    with pytest.raises(ConfigError, match="'top2' is not the name of an arm"):
        read_ablation(path, tmp_path, flags, only=["top2"])


TUNED = """
[[arm]]
name = "tuned"
init = "arm:audio"
strategy = "top1"
"""


def test_an_arm_can_begin_with_another_seed_by_seed(world: World, tmp_path: Path) -> None:
    ablation = plan(world, tmp_path, arms=ARMS + TUNED)
    for seed, (first, _, tuned) in enumerate((ablation.jobs[:3], ablation.jobs[3:])):
        assert tuned.config.init == tuned.begins_with == first.config.out
        assert tuned.config.seed == first.config.seed == seed
        assert (first.config.init, first.begins_with) == ("", "")
    # What it began with shapes its results, so these get another name too.
    longer = ARMS.replace('strategy = "audio"', 'strategy = "audio"\nsteps = 3') + TUNED
    changed = plan(world, tmp_path, arms=longer)
    assert changed.jobs[1].results == ablation.jobs[1].results
    assert changed.jobs[2].results != ablation.jobs[2].results
    flags = {"cache": str(world.cache), "audio": str(world.audio)}
    path = write_plan(tmp_path, arms=ARMS + TUNED)
    chosen = read_ablation(path, tmp_path / "out", flags, only=["tuned"], seeds=[0])
    assert [job.name for job in chosen.jobs] == ["audio, seed 0", "tuned, seed 0"]


@pytest.mark.parametrize("init", ["arm:tuned", "arm:nobody"])
def test_an_arm_begins_with_one_that_stands_before_it(
    world: World, tmp_path: Path, init: str
) -> None:
    arms = ARMS + TUNED.replace("arm:audio", init)
    with pytest.raises(ConfigError, match=rf"further up, got '{init}' \(arm 'tuned'\)"):
        plan(world, tmp_path, arms=arms)
    with pytest.raises(ConfigError, match=r"`train.init` cannot be an arm"):
        plan(world, tmp_path, train=f'{TRAIN}init = "arm:audio"')
