"""What an ablation compares, read from one TOML file and checked whole before any training.

    baseline = "audio"          # the arm that the others are compared with; the first by default
    upper = "caption"           # the arm that is the bound, if there is one
    seeds = [0, 1, 2]

    [train]                     # what all runs share, as `lqtse train --config` takes it
    [evaluate]                  # what `lqtse evaluate` takes; `audio` is that of the training
    [[arm]]                     # a name, and the settings in which it differs
    name = "audio"
    strategy = "audio"

An arm is trained once a seed. Everything that does not differ is the same, the held-out mixtures
among it: these are drawn from the clips and the evaluation's own seed.

`init = "arm:NAME"` begins with the weights of an arm further up, seed by seed: fine-tuning, with
the spread of what it began with in its interval. With `only`, such an arm comes along.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cache_store.errors import ConfigError
from trainer.ablation.beginnings import beginning, with_beginnings, wrong_beginnings
from trainer.config import TrainConfig
from trainer.eval_settings import EvalSettings
from trainer.toml import read_toml

_TOP = ("baseline", "upper", "seeds", "train", "evaluate", "arm")
_OURS = ("seed", "out")  # settings of a training that the ablation chooses
_NOT_HERE = {"sounds", "sounds_count", "worst", "list", "average"}  # settings of other evaluations
# Settings of an evaluation that came later: results from before keep their names.
_ADDED = ("worst", "clap_score", "say_not", "precision")
_NO_MATTER = ("out", "log_every", "valid_sounds", "device", "workers")  # for what comes out


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: In tables and plots.
        settings: Where it differs from what all share.
    """

    name: str
    settings: Mapping[str, Any]

    @property
    def slug(self) -> str:
        """The name as a part of file names."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True)
class Job:
    """One training and its evaluation.

    Attributes:
        arm: Whose.
        config: Of the training; its seed and its folder are the job's.
        evaluate: Of the evaluation.
        results: The CSV file of the evaluation; its name changes with what was trained and
            measured, so that results of other settings are never taken for these.
        begins_with: The folder of the run whose weights it begins with, if that is one of ours.
        trained: A name for all that shaped the training, that of its beginning included.
    """

    arm: Arm
    config: TrainConfig
    evaluate: EvalSettings
    results: Path
    begins_with: str = ""
    trained: str = ""

    @property
    def name(self) -> str:
        """The arm and the seed."""
        return f"{self.arm.name}, seed {self.config.seed}"


@dataclass(frozen=True)
class Ablation:
    """A checked plan.

    Attributes:
        arms: In the order of the file.
        seeds: Of the trainings.
        baseline: The arm that the others are compared with.
        upper: The arm that is the bound, None without one.
        jobs: Every training, seed by seed, so that an ablation that is stopped early has all arms.
        out: The folder of everything.
    """

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    baseline: Arm
    upper: Arm | None
    jobs: tuple[Job, ...]
    out: Path

    def of(self, arm: Arm) -> tuple[Job, ...]:
        """The jobs of an arm, seed by seed."""
        return tuple(job for job in self.jobs if job.arm == arm)


def read_ablation(
    path: str | Path,
    out: str | Path,
    flags: Mapping[str, Any] | None = None,
    *,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> Ablation:
    """Read and check a plan.

    Args:
        path: The TOML file; paths in it are taken from the current folder, as flags are.
        out: Where runs, results, table and plot go.
        flags: Settings of the training that win over the file's `[train]`; a None was not given.
            `audio` and `space` hold for the evaluation too, where its table does not name its own.
        only: Names of the arms to have; all by default.
        seeds: Seeds instead of the file's.

    Raises:
        ConfigError: With every fault of the file.
        UsageError: If there is no such file.
        DataError: If it is not TOML.
    """
    table = read_toml(path)
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    faults = [f"`{name}` is not a setting of an ablation" for name in table if name not in _TOP]
    train = {**_table(table, "train", faults), **given}
    faults += [f"`train.{name}` is set by the ablation" for name in _OURS if name in train]
    arms = _arms(table, faults)
    faults += [
        f"{name!r} is not the name of an arm" for name in only if name not in map(_name, arms)
    ]
    faults += wrong_beginnings(arms, train)
    wanted = with_beginnings(only or [arm.name for arm in arms], arms)
    arms = [arm for arm in arms if arm.name in wanted]
    chosen = _seeds({"seeds": list(seeds)} if seeds else table, faults)
    evaluate = _evaluate(_table(table, "evaluate", faults), train, faults)
    named = {arm.name: arm for arm in arms}
    for role in ("baseline", "upper"):
        if role in table and table[role] not in named and not only:
            faults.append(f"`{role}` must be the name of an arm, got {table[role]!r}")
    jobs: list[Job] = []
    if chosen and evaluate is not None:
        for seed in chosen:
            so_far: dict[str, Job] = {}
            for arm in arms:
                job = _job(arm, seed, train, evaluate, Path(out), so_far, faults)
                so_far |= {arm.name: job} if job else {}
            jobs += so_far.values()
    if faults:
        raise ConfigError(list(dict.fromkeys(faults)), where=path)
    return Ablation(
        arms=tuple(arms),
        seeds=chosen,
        baseline=named.get(table.get("baseline", ""), arms[0]),
        upper=named.get(table.get("upper", "")),
        jobs=tuple(jobs),
        out=Path(out),
    )


def _job(
    arm: Arm,
    seed: int,
    train: Mapping[str, Any],
    evaluate: EvalSettings,
    out: Path,
    so_far: Mapping[str, Job],
    faults: list[str],
) -> Job | None:
    folder = out / "runs" / f"{arm.slug}-s{seed}"
    settings = {**train, **arm.settings, "seed": seed, "out": str(folder)}
    first = so_far.get(beginning(arm))
    begins_with = first.config.out if first else ""
    try:
        config = TrainConfig.load(None, {**settings, **({"init": begins_with} if first else {})})
    except ConfigError as error:
        faults += [f"{fault} (arm {arm.name!r})" for fault in error.faults]
        return None
    # What was said, not every setting: one that a later version adds changes no name. A run that
    # other defaults made is found by its own record of them (`check_finished`).
    told = {name: value for name, value in settings.items() if name not in _NO_MATTER}
    usual = {field.name: field.default for field in fields(EvalSettings)}
    told |= {"init": first.trained} if first else {}
    measured = {
        name: value
        for name, value in asdict(evaluate).items()
        if name != "device" and (name not in _ADDED or value != usual[name])
    }
    results = out / "results" / f"{arm.slug}-s{seed}-{_key([told, measured])}.csv"
    return Job(arm, config, evaluate, results, begins_with, _key(told))


def _key(what: object) -> str:
    text = json.dumps(what, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _table(table: Mapping[str, Any], name: str, faults: list[str]) -> dict[str, Any]:
    value = table.get(name, {})
    if not isinstance(value, dict):
        faults.append(f"`{name}` must be a table, got {value!r}")
        return {}
    return value


def _arms(table: Mapping[str, Any], faults: list[str]) -> list[Arm]:
    entries = table.get("arm", [])
    if not isinstance(entries, list) or not entries:
        faults.append("there must be at least one [[arm]]")
        return []
    arms: list[Arm] = []
    for number, entry in enumerate(entries, 1):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not Arm(name, {}).slug:
            faults.append(f"arm {number} must have a `name` of letters or digits, got {name!r}")
            continue
        settings = {key: value for key, value in entry.items() if key != "name"}
        faults += [
            f"`{key}` is set by the ablation (arm {name!r})" for key in _OURS if key in settings
        ]
        arms.append(Arm(name, settings))
    slugs = [arm.slug for arm in arms]
    faults += [
        f"the arm {arm.name!r} is there twice, as far as file names tell"
        for number, arm in enumerate(arms)
        if arm.slug in slugs[:number]
    ]
    return arms


def _name(arm: Arm) -> str:
    return arm.name


def _seeds(table: Mapping[str, Any], faults: list[str]) -> tuple[int, ...]:
    seeds = table.get("seeds", [0])
    right = isinstance(seeds, list) and bool(seeds) and len(set(map(str, seeds))) == len(seeds)
    if not right or not all(type(seed) is int and seed >= 0 for seed in seeds):
        faults.append(f"`seeds` must be different whole numbers, at least 0, got {seeds!r}")
        return ()
    return tuple(seeds)


def _evaluate(
    table: dict[str, Any], train: Mapping[str, Any], faults: list[str]
) -> EvalSettings | None:
    known = {field.name for field in fields(EvalSettings)} - _NOT_HERE
    faults += [f"`evaluate.{name}` is not a setting" for name in table if name not in known]
    shared = {
        name: train[name]
        for name in ("audio", "space", "space_name", "label_from_folder", "device")
        if name in train
    }
    values = {**shared, **{name: value for name, value in table.items() if name in known}}
    try:
        return EvalSettings(**values)
    except ConfigError as error:
        faults += [f"evaluate: {fault}" for fault in error.faults]
    return None
