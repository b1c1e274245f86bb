"""What to measure a run on: one frozen object that checks itself. Light to import."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cache_store.errors import ConfigError
from trainer.fields import wrong_types
from trainer.lists import AVERAGES
from trainer.precision import INFERENCE
from trainer.run import CHECKPOINTS

QUERY_KINDS = ("caption", "label", "audio")


@dataclass(frozen=True)
class EvalSettings:
    """What to measure on.

    Attributes:
        audio: A folder or manifest.
        where: Which of its clips, an expression; "" for all.
        queries: `caption`, `label` or `audio` (the target's own audio embedding).
        snr: Of the target against the interferer, in dB.
        mixtures: How many.
        seconds: Length of a mixture; None for that of the training.
        seed: Of the mixtures and of the intervals' resampling.
        label_from_folder: Whether a clip's parent folder is its label.
        space: A model or table for the queries; "" for the run's own.
        space_name: Where stored embeddings came from, if their file does not say.
        checkpoint: `best` or `last`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: Of the separator: `no` for float32, or `bf16`.
        sounds: A folder for mixtures, targets and estimates to listen to; None for none.
        sounds_count: Of how many mixtures.
        worst: Whether these are the mixtures with the lowest SDRi; else they are the first.
        list: An evaluation list of the field (`lists`), whose audio lies in `audio`; "" for
            mixtures of our own making. `where`, `mixtures` and `seconds` do not concern it.
        bss: Whether to measure BSS-eval's SDR too, which takes long.
        clap_score: Whether to measure CLAPScore too, which needs a model that embeds audio.
        say_not: Whether to say what to leave out too: the interferer's own text, as `separate
            --not` does.
        average: How a list's scores are averaged; "" for the list's own way.

    Raises:
        ConfigError: With every fault.
    """

    audio: str
    where: str = ""
    queries: str = "caption"
    snr: float = 0.0
    mixtures: int = 200
    seconds: float | None = None
    seed: int = 0
    label_from_folder: bool = False
    space: str = ""
    space_name: str = ""
    checkpoint: str = "best"
    device: str = "auto"
    precision: str = "no"
    sounds: Path | None = None
    sounds_count: int = 10
    worst: bool = False
    list: str = ""
    bss: bool = False
    clap_score: bool = False
    say_not: bool = False
    average: str = ""

    def __post_init__(self) -> None:
        faults = wrong_types(self) or [*self._wrong_values()]
        if faults:
            raise ConfigError(faults)

    def _wrong_values(self) -> Iterator[str]:
        def fault(name: str, what: str) -> str:
            return f"`{name}` must be {what}, got {getattr(self, name)!r}"

        if not self.audio:
            yield fault("audio", "given")
        for name, choices in (
            ("queries", QUERY_KINDS),
            ("checkpoint", CHECKPOINTS),
            ("precision", INFERENCE),
        ):
            if getattr(self, name) not in choices:
                yield fault(name, "one of " + ", ".join(choices))
        if self.average not in ("", *AVERAGES):
            yield fault("average", "one of " + ", ".join(AVERAGES))
        if self.list and self.queries == "audio":
            yield "a list is asked with its own texts: `queries` must be caption or label"
        if self.list and self.say_not:
            yield "a list does not say what else is in a mixture: `say_not` cannot be used with it"
        if self.worst and self.sounds is None:
            yield "the worst mixtures need a folder to go to: `sounds` must be given"
        for name in ("mixtures", "sounds_count"):
            if getattr(self, name) < 1:
                yield fault(name, "at least 1")
        if self.seed < 0:
            yield fault("seed", "at least 0")
        if self.seconds is not None and not 0.1 <= self.seconds <= 600:
            yield fault("seconds", "from 0.1 to 600")
        if abs(self.snr) > 100:
            yield fault("snr", "from -100 to 100 (dB)")
