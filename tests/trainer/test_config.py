"""A configuration checks itself, tells all faults together, and survives its own TOML."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import ConfigError, DataError, UsageError
from trainer.config import TrainConfig

NEEDED = {"cache": "c", "audio": "a", "out": "o"}
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


def test_defaults_need_only_the_three_paths() -> None:
    assert TrainConfig(**NEEDED).strategy == "top1"
    with pytest.raises(ConfigError) as caught:
        TrainConfig()
    assert len(caught.value.faults) == 3


def test_all_faults_are_told_together_in_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**NEEDED, strategy="magic", lr=0.0, snr_min=9.0, snr_max=1.0, steps=0)
    assert caught.value.message.startswith("4 settings cannot work: ")
    for words in (
        "`strategy` must be one of audio, ",
        "`lr` must be above 0, got 0.0",
        "`snr_min` must be at most `snr_max` (1.0), got 9.0",
        "`steps` must be at least 1, got 0",
    ):
        assert words in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 1.5),
        ("steps", True),
        ("steps", "many"),
        ("lr", "fast"),
        ("lr", float("nan")),
        ("snr_max", float("inf")),
        ("where", 4),
        ("label_from_folder", 1),
        ("cache", None),
        ("seed", -1),
        ("sample_rate", 10),
        ("seconds", 0.01),
        ("avoid", "neighbours"),
        ("avoid_quantile", 0.0),
        ("level", "lufs"),
        ("embedding", "both"),
        ("augment_gain", -1.0),
        ("augment_speed", 0.6),
        ("augment_lowpass", 4000.0),
        ("augment_lowpass", 20.0),
        ("memory_gb", -1.0),
        ("precision", "fp8"),
        ("schedule", "plateau"),
        ("accumulate", 0),
        ("ema", 1.0),
        ("ema", -0.1),
        ("early_stop", 3),
        ("early_stop", -1),
        ("compile", "yes"),
        ("loss", "mse"),
        ("valid_snr", 200.0),
    ],
)
def test_a_wrong_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` must be .*, got {value!r}"):
        TrainConfig(**{**NEEDED, name: value})


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('cache = "file"\naudio = "a"\nsteps = 7\nwarmup = 0\nlr = 1\n')
    config = TrainConfig.load(path, {"cache": "flag", "out": "o", "steps": None})
    assert (config.cache, config.steps, config.lr) == ("flag", 7, 1.0)
    assert config.seed == 0
    assert isinstance(config.lr, float)


def test_unknown_names_are_told_with_the_other_faults(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('cache = "c"\naudio = "a"\nout = "o"\nstepz = 5\nk = 0\n')
    with pytest.raises(ConfigError) as caught:
        TrainConfig.load(path)
    assert "`stepz` is not a setting (did you mean `steps`?)" in caught.value.message
    assert "`k` must be at least 1, got 0" in caught.value.message
    assert str(path) in caught.value.message


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such configuration file"):
        TrainConfig.load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("steps = = 3")
    with pytest.raises(DataError, match="is not TOML"):
        TrainConfig.load(tmp_path / "bad.toml")
    (tmp_path / "latin.toml").write_bytes(b'cache = "caf\xe9"')
    with pytest.raises(DataError, match="is not UTF-8"):
        TrainConfig.load(tmp_path / "latin.toml")


@given(
    cache=TEXT,
    where=TEXT,
    lr=st.floats(1e-300, 1e300),
    seconds=st.floats(0.1, 600),
    seed=st.integers(0, 2**62),
    snr=st.floats(-100, 100),
    flag=st.booleans(),
)
def test_toml_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    cache: str,
    where: str,
    lr: float,
    seconds: float,
    seed: int,
    snr: float,
    flag: bool,
) -> None:
    config = TrainConfig(
        cache=cache,
        audio="a",
        out="o",
        where=where,
        lr=lr,
        seconds=seconds,
        seed=seed,
        snr_min=snr,
        snr_max=100.0,
        label_from_folder=flag,
    )
    path = tmp_path_factory.mktemp("toml") / "c.toml"
    path.write_text(config.to_toml(), encoding="utf-8", newline="")
    assert TrainConfig.from_toml(path) == config


def test_replace_checks_anew_and_nothing_can_be_set() -> None:
    config = TrainConfig(**NEEDED)
    assert config.replace(steps=9, warmup=0).steps == 9
    with pytest.raises(ConfigError):
        config.replace(steps=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.steps = 3  # type: ignore[misc]


def test_every_field_is_documented() -> None:
    documented = inspect.getdoc(TrainConfig) or ""  # Python 3.13 strips the indentation by itself
    for field in dataclasses.fields(TrainConfig):
        assert f"\n    {field.name}: " in documented, field.name


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys; from trainer.config import TrainConfig; "
        "TrainConfig(cache='c', audio='a', out='o'); "
        "print(sorted({'torch', 'transformers', 'pyarrow', 'datasets'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
