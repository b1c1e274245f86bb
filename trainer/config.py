"""The configuration of a training run: one frozen object that checks itself.

Defaults, then a TOML file that shows only what differs, then flags of the command line: the later
one wins. All faults are told together, so that one run shows them all. Nothing here is heavy to
import.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cache_store.errors import ConfigError, UsageError
from trainer.fields import widened, wrong_types
from trainer.toml import read_toml, toml_value

SCHEDULES = ("cosine", "linear", "constant")
LOSSES = ("snr", "si_sdr", "l1")
PRECISIONS = ("no", "bf16", "fp16")
AVOID = ("auto", "label", "embedding", "none")
LEVELS = ("energy", "loudness")
EMBEDDINGS = ("clip", "crop")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that shapes a run; the same object, seed and machine give the same run.

    Attributes:
        cache: The caption cache.
        audio: The training audio: a folder or a manifest.
        out: The run folder.
        where: Which clips to train on, an expression; empty for all.
        valid_audio: Where validation clips come from; empty for `audio`.
        valid_where: Which clips to validate on; empty with no `valid_audio` means no validation.
        label_from_folder: Whether a clip's parent folder is its label.
        space: The embedding space for clips without stored embeddings; empty for the cache's own.
        space_name: The name of stored embeddings' space, where their file does not say it.
        strategy: How a clip's condition is made, see `trainer.conditioning`.
        embedding: What is embedded: the whole `clip`, once, or in every step the `crop` of it that
            is mixed, which tells what is to be heard, and takes a model and time.
        k: Neighbours that `topk-mean`, `softmax` and `sample` look at.
        centred: Whether captions are searched for with both modalities centred.
        diversity: Of `topk-mean`, `softmax` and `sample`: how much the neighbours shall differ.
        temperature: Of `softmax`.
        noise_std: Of `noise`, in each dimension.
        noise_angle: Of `noise`, in degrees; above 0 it is used instead of `noise_std`.
        noise_share: Of `lafite`.
        dropout: Of `dropout`, the share of dimensions left out.
        negative: How far a condition is steered away from the interferer's; 0 for not at all, and
            0.5 makes a separator that heeds `--not`.
        negative_share: Share of the mixtures that are asked for so.
        model: The separator, see `trainer.models`.
        sizes: What to change of that separator's sizes, `channels=8,16,32 depth=2` say.
        init: Weights to begin with: the folder of a run, or `audiosep:FILE`; empty for fresh ones.
        sample_rate: At which it hears and speaks, in Hz.
        seconds: Length of a mixture.
        snr_min: Lower end of the target's level against the interferers, in dB.
        snr_max: Upper end, in dB.
        interferers_max: A mixture has 1 to this many interferers.
        avoid: What keeps a clip from interfering with its own kind: `label`, `embedding`, `none`,
            or `auto` for labels where they are known, else embeddings where they are there.
        avoid_quantile: With embeddings, the share of pairs of clips that may meet: a pair more
            alike than this quantile of all similarities does not.
        level: What the SNR is measured by: `energy`, or `loudness` as BS.1770 weights it.
        augment_gain: The level of a mixture changes by up to this, in dB; see `trainer.augment`.
        augment_polarity: Whether sounds are flipped at random.
        augment_speed: Sounds are up to this share faster or slower.
        augment_lowpass: Every other sound is dulled, at this or a higher frequency in Hz; 0 for
            none.
        memory_gb: The most decoded audio to keep in memory, in GiB.
        disk_gb: The most to keep decoded in a file of the run folder's disk, where memory does not
            do. Beyond both, each crop is decoded anew.
        steps: Optimiser steps.
        batch_size: Mixtures that a device works on at once.
        accumulate: Batches whose gradients make one step: as much memory as one batch needs, and
            the mixtures of this many. Batch normalisation goes by each batch.
        lr: Peak learning rate.
        schedule: `cosine` or `linear` (to zero after the last step) or `constant`, after the
            warm-up.
        warmup: Steps over which the learning rate rises from zero.
        weight_decay: Of AdamW.
        clip_norm: Largest norm of a gradient; 0 for no clipping.
        ema: Decay of a running average of the weights, 0.999 say, which is then what is validated,
            kept as best and separates; 0 for none.
        loss: `snr` or `si_sdr` (their negatives, in dB) or `l1` (of the waves).
        seed: Of everything random.
        valid_every: Steps between two validations, which also write a checkpoint.
        early_stop: End after this many validations in a row without a better SDRi with text
            queries; 0 to go through all steps.
        valid_mixtures: Held-out mixtures of a validation.
        valid_snr: Their SNR, in dB.
        valid_sounds: How many of them to write to TensorBoard as audio.
        log_every: Steps between two lines of the log.
        wandb: A project of Weights & Biases to show the curves in; empty for none.
        precision: `no` (float32), `bf16` or `fp16`, as `accelerate` calls them.
        compile: Whether to compile the model by `torch.compile`, where the machine can.
        device: `auto`, `cpu`, `cuda` or `mps`.
        workers: Processes that make mixtures; 0 makes them in the training process.

    Raises:
        ConfigError: With every fault.
    """

    cache: str = ""
    audio: str = ""
    out: str = ""
    where: str = ""
    valid_audio: str = ""
    valid_where: str = ""
    label_from_folder: bool = False
    space: str = ""
    space_name: str = ""
    strategy: str = "top1"
    embedding: str = "clip"
    k: int = 5
    centred: bool = False
    diversity: float = 0.0
    temperature: float = 0.01
    noise_std: float = 0.016**0.5
    noise_angle: float = 0.0
    noise_share: float = 0.75
    dropout: float = 0.5
    negative: float = 0.0
    negative_share: float = 0.5
    model: str = "small"
    sizes: str = ""
    init: str = ""
    sample_rate: int = 8000
    seconds: float = 2.0
    snr_min: float = -5.0
    snr_max: float = 5.0
    interferers_max: int = 1
    avoid: str = "auto"
    avoid_quantile: float = 0.9
    level: str = "energy"
    augment_gain: float = 0.0
    augment_polarity: bool = False
    augment_speed: float = 0.0
    augment_lowpass: float = 0.0
    memory_gb: float = 1.0
    disk_gb: float = 0.0
    steps: int = 1500
    batch_size: int = 12
    accumulate: int = 1
    lr: float = 1e-3
    schedule: str = "cosine"
    warmup: int = 50
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    ema: float = 0.0
    loss: str = "snr"
    seed: int = 0
    valid_every: int = 250
    early_stop: int = 0
    valid_mixtures: int = 100
    valid_snr: float = 0.0
    valid_sounds: int = 2
    log_every: int = 25
    wandb: str = ""
    precision: str = "no"
    compile: bool = False
    device: str = "auto"
    workers: int = 0

    def __post_init__(self) -> None:
        faults = wrong_types(self)
        if not faults:
            faults = [*_wrong_values(self)]
        if faults:
            raise ConfigError(faults)

    @classmethod
    def load(cls, path: str | Path | None, flags: Mapping[str, Any] | None = None) -> TrainConfig:
        """A configuration from a TOML file, over which flags win.

        Args:
            path: The file; None for defaults. Paths inside it are taken from the current folder,
                as flags are.
            flags: Values by field name; a None means that the flag was not given.

        Raises:
            ConfigError: With every fault, unknown names among them.
            UsageError: If there is no such file.
            DataError: If the file is not TOML.
        """
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        values = {**(read_toml(path) if path is not None else {}), **given}
        known = {field.name: field for field in fields(cls)}
        unknown = [name for name in values if name not in known]
        good = {
            name: widened(value, known[name].type)
            for name, value in values.items()
            if name in known
        }
        faults = [f"`{name}` is not a setting{_similar(name, known)}" for name in unknown]
        try:
            config = cls(**good)
        except ConfigError as error:
            raise ConfigError([*faults, *error.faults], where=path) from None
        if faults:
            raise ConfigError(faults, where=path)
        return config

    @classmethod
    def from_toml(cls, path: str | Path) -> TrainConfig:
        """A configuration from a TOML file alone; see `load`."""
        return cls.load(path)

    def strategy_options(self) -> dict[str, Any]:
        """What `trainer.conditioning.build_strategy` takes besides the name."""
        names = (
            *("k", "centred", "diversity", "temperature"),
            *("noise_std", "noise_angle", "noise_share", "dropout"),
        )
        return {name: getattr(self, name) for name in names}

    def replace(self, **changes: Any) -> TrainConfig:
        """The same configuration with some values changed, checked anew."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Every value by field name."""
        return dataclasses.asdict(self)

    def to_toml(self) -> str:
        """Every value as TOML; `load` reads it back to an equal object."""
        return "".join(f"{name} = {toml_value(value)}\n" for name, value in self.to_dict().items())


def _wrong_values(config: TrainConfig) -> list[str]:
    from trainer.conditioning import build_strategy, strategy_names

    faults = []

    def need(good: bool, name: str, what: str) -> None:
        if not good:
            faults.append(f"`{name}` must be {what}, got {getattr(config, name)!r}")

    for name in ("cache", "audio", "out", "model"):
        need(bool(getattr(config, name)), name, "given")
    for name, choices in (
        ("strategy", strategy_names()),
        ("schedule", SCHEDULES),
        ("loss", LOSSES),
        ("precision", PRECISIONS),
        ("avoid", AVOID),
        ("level", LEVELS),
        ("embedding", EMBEDDINGS),
    ):
        need(getattr(config, name) in choices, name, "one of " + ", ".join(choices))
    for strategy in strategy_names():
        try:
            build_strategy(strategy, **config.strategy_options())
        except UsageError as error:
            fault = f"{error.what}, got {error.found}"
            faults += [fault] if fault not in faults else []  # several have a `k`
    positive = ("interferers_max", "steps", "batch_size", "accumulate", "valid_every", "log_every")
    for name in positive:
        need(getattr(config, name) >= 1, name, "at least 1")
    for name in (
        *("seed", "warmup", "weight_decay", "clip_norm"),
        *("early_stop", "valid_sounds", "workers"),
    ):
        need(getattr(config, name) >= 0, name, "at least 0")
    need(config.valid_mixtures >= 1, "valid_mixtures", "at least 1")
    need(1000 <= config.sample_rate <= 192_000, "sample_rate", "from 1000 to 192000 (Hz)")
    need(0.1 <= config.seconds <= 600, "seconds", "from 0.1 to 600")
    need(config.lr > 0, "lr", "above 0")
    need(0 <= config.ema < 1, "ema", "at least 0 and below 1")
    validated = bool(config.valid_where or config.valid_audio)
    need(
        validated or config.early_stop <= 0,
        *("early_stop", "0 without `valid_where` or `valid_audio`"),
    )
    need(0 <= config.negative <= 2, "negative", "from 0 to 2")
    need(0 <= config.negative_share <= 1, "negative_share", "from 0 to 1")
    need(0 < config.avoid_quantile <= 1, "avoid_quantile", "above 0 and at most 1")
    need(0 <= config.augment_gain <= 60, "augment_gain", "from 0 to 60 (dB)")
    need(0 <= config.augment_speed <= 0.5, "augment_speed", "from 0 to 0.5")
    for name in ("memory_gb", "disk_gb"):
        need(getattr(config, name) >= 0, name, "at least 0")
    lowpass = "0, or from 50 (Hz) to below half the sample rate"
    need(
        config.augment_lowpass == 0 or 50 <= config.augment_lowpass < config.sample_rate / 2,
        *("augment_lowpass", lowpass),
    )
    need(config.snr_min <= config.snr_max, "snr_min", f"at most `snr_max` ({config.snr_max})")
    for name in ("snr_min", "snr_max", "valid_snr"):
        need(abs(getattr(config, name)) <= 100, name, "from -100 to 100 (dB)")
    return faults


def _similar(name: str, known: Mapping[str, Any]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""
