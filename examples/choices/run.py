"""Four questions that every user has, each answered by a few small trainings.

    python examples/choices/run.py [QUESTION ...] [--human CAPTIONS.csv] [--out choices-run]

    cache-size   how big must a cache be, and does its origin matter?
    strategies   which strategy, where the cache has many captions of each sound?
    embedding    embed the whole clip once, or the crop in every step?
    negative     does training with negative conditions help `--not`?

Runs public commands and prints each; finished ones are not repeated, so it can be interrupted. All
is made here: procedural recordings, captions of a grammar, captions of the small local language
model (`make models`). With `--human`, a CSV file with a column `caption` (AudioCaps' training set,
say), captions that people wrote take part as well. The answers are in docs/cache-size.md and
docs/conditions.md.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Optional

import numpy as np
import soundfile
import typer

from cache_store import console
from cache_store.errors import DataError, UsageError
from pipeline.steps import Walk
from trainer.intervals import Interval

# What the recordings hold, and the words by which captions tell of it.
KINDS = {
    "dog": r"dogs?|puppy|bark\w*",
    "cat": r"cats?|kittens?|meow\w*",
    "bird": r"birds?|chirp\w*|tweet\w*",
    "siren": r"sirens?",
    "rain": r"rain\w*",
    "thunder": r"thunder\w*",
    "clock": r"clocks?|tick\w*",
    "helicopter": r"helicopters?|choppers?",
    "train": r"trains?|locomotives?|rail\w*",
    "baby": r"bab(y|ies)|infants?",
    "footsteps": r"footsteps?|steps|walking",
    "bell": r"bells?",
}
# What someone who made such recordings might expect in them: more than is there.
CONCEPTS = (
    *("dog barking", "bird chirping", "siren", "rain", "ticking clock", "helicopter"),
    *("crying baby", "church bell", "wind", "car engine", "footsteps", "thunder", "cat", "train"),
    *("crowd of people", "running water", "door", "guitar", "rooster", "airplane"),
)
UNLABELLED, HELD_OUT, SEED = 12, 10, 1  # recordings a kind; of everything random
TOGETHER = 3  # recordings that make a long one
# Questions and the plans of `lqtse ablate` that answer them; the first is run with what is there.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "cache-size": (),
    "strategies": ("strategies",),
    "embedding": ("embedding",),
    "negative": ("negative", "negative-said"),
}

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    questions: Annotated[
        Optional[list[str]], typer.Argument(help=f"Some of: {', '.join(QUESTIONS)}.")
    ] = None,
    human: Annotated[
        Optional[Path], typer.Option(help="A CSV file with a column `caption`, by people.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("choices-run"),
) -> None:
    """Train with each choice and ask held-out mixtures in words."""
    chosen = questions or list(QUESTIONS)
    for question in chosen:
        if question not in QUESTIONS:
            raise UsageError("no such question", where=question, expected=" | ".join(QUESTIONS))
    if human is not None and not human.is_file():
        raise DataError("no such file", where=human)
    walk = Walk(out)
    _recordings(walk)
    _write(walk, "concepts.txt", CONCEPTS)
    _write(walk, "other-concepts.txt", other_concepts())
    walk.heading("Captions of a grammar")
    _grammar(walk, "grammar", 1000, "concepts.txt")
    if "cache-size" in chosen or "strategies" in chosen:
        _local(walk)
    if "embedding" in chosen:
        make_long(out / "recordings", out / "long")
    if "cache-size" in chosen:
        only = _caches(walk, human)
        _ablate(walk, "cache-size", *(word for arm in only for word in ("--only", arm)))
        draw(out / "ablation" / "cache-size.png", out, only)
        walk.heading("How often does the nearest caption name the sound?")
        for cache in sorted((out / "caches").iterdir()):
            console.say(f"{cache.name}: {named_right(cache, out / 'recordings'):.0%}")
    for question in chosen:
        for plan in QUESTIONS[question]:
            _ablate(walk, plan)


def other_concepts() -> list[str]:
    """The concepts of the built-in bank that name none of `KINDS`."""
    from prompts.bank import ConceptBank

    return [one.name for one in ConceptBank.builtin() if not names_any(one.name)]


def names_any(text: str) -> bool:
    """Whether a text names a sound of `KINDS`."""
    return any(names(text, kind) for kind in KINDS)


def names(text: str, kind: str) -> bool:
    """Whether a text names this sound, by the words that people use for it."""
    return re.search(rf"\b({KINDS[kind]})\b", text.lower()) is not None


def captions_of(path: Path) -> list[str]:
    """The distinct captions of a CSV file, in its order."""
    return [*dict.fromkeys(text.strip() for text in _column(path, "caption"))]


def human_sets(texts: Iterable[str]) -> dict[str, list[str]]:
    """Captions that name the sounds, evenly over `KINDS`, and captions that name none."""
    of_kind: dict[str, list[str]] = {kind: [] for kind in KINDS}
    others = []
    for text in texts:
        named = [kind for kind in KINDS if names(text, kind)]
        if named:
            fewest = min(named, key=lambda kind: len(of_kind[kind]))
            of_kind[fewest].append(text)
        else:
            others.append(text)
    rounds = zip(*of_kind.values(), strict=False)
    right = [text for texts_of_round in rounds for text in texts_of_round]
    if min(len(right), len(others)) < 1000:
        raise DataError(
            "too few captions of people",
            expected="1,000 that name the sounds and 1,000 that do not",
            found=f"{len(right)} and {len(others)}",
        )
    return {
        "human-100": right[:100],
        "human-1000": right[:1000],
        "human-other-1000": others[:: len(others) // 1000][:1000],
    }


def _recordings(walk: Walk) -> None:
    walk.heading("Unlabelled recordings to train on, and others to test on (all procedural)")
    for folder, count, seed in (
        ("recordings", UNLABELLED, SEED),
        ("held-out", HELD_OUT, SEED + 1),
    ):
        words = ("--kinds", ",".join(KINDS), "--per-kind", count, "--seed", seed)
        walk.run("lqtse-cache", "sounds", folder, *words)


def _grammar(walk: Walk, name: str, size: int, concepts: str = "") -> None:
    cache = f"caches/{name}-{size}"
    words = ("--concepts", concepts) if concepts else ()
    chosen = ("-n", size, "--backend", "grammar", "--seed", SEED)
    walk.run("lqtse-cache", "generate", cache, *chosen, *words)
    walk.run("lqtse-cache", "embed", cache, "--space", "tiny")


def _local(walk: Walk) -> None:
    walk.heading(
        "Captions of a small language model on this machine, and the first hundred of them"
    )
    cache, words = "caches/generated-1000", ("-n", 1000, "--backend", "local", "--seed", SEED)
    walk.run("lqtse-cache", "generate", cache, *words, "--concepts", "concepts.txt")
    walk.run("lqtse-cache", "embed", cache, "--space", "tiny")
    walk.run("lqtse-cache", "export", cache, "generated.csv", "--to", "csv")
    _write(walk, "generated-100.txt", captions_of(walk.folder / "generated.csv")[:100])
    _imported(walk, "generated-100")


def _caches(walk: Walk, human: Path | None) -> list[str]:
    """Make the caches of the first question; the arms that they allow for."""
    walk.heading("Captions of the grammar about the sounds, about anything, about anything else")
    for size in (10, 100, 10000):
        _grammar(walk, "grammar", size, "concepts.txt")
    for size in (1000, 10000):
        _grammar(walk, "any", size)
    _grammar(walk, "other", 1000, "other-concepts.txt")
    arms = ["audio", "caption", *(f"grammar, {size}" for size in (10, 100, 1000, 10000))]
    arms += ["generated, 100", "generated, 1000"]
    arms += ["any concept, 1000", "any concept, 10000", "other concepts, 1000"]
    if human is not None:
        walk.heading("Captions that people wrote")
        for name, texts in human_sets(captions_of(human)).items():
            _write(walk, f"{name}.txt", texts)
            _imported(walk, name)
        arms += ["human, 100", "human, 1000", "human, other concepts, 1000"]
    return arms


def make_long(source: Path, target: Path) -> None:
    """Recordings of three others each, one after the other, of different kinds."""
    if target.is_dir():
        return
    paths = sorted(source.glob("*.wav"))
    kinds = dict(zip(paths, _column(source / "truth.csv", "label"), strict=True))
    # Sorted by kind, no third of the list has a kind in common with another.
    order = sorted(paths, key=lambda path: (kinds[path], path.name))
    parts = len(order) // TOGETHER
    draft = target.with_suffix(".tmp")
    draft.mkdir(exist_ok=True)
    for number in range(parts):
        chosen = [order[number + parts * place] for place in range(TOGETHER)]
        waves = [soundfile.read(path, dtype="float32") for path in chosen]
        joined = np.concatenate([wave for wave, _ in waves])
        soundfile.write(draft / f"long-{number:04d}.wav", joined, waves[0][1])
    draft.rename(target)


def named_right(cache: Path, recordings: Path) -> float:
    """The share of recordings whose nearest caption names what they hold."""
    from cache_store import open_cache
    from cache_store.clips import read_clips
    from cache_store.spaces import load_space
    from trainer.embeddings import clip_embeddings

    clips, opened = read_clips(recordings / "truth.csv"), open_cache(cache)
    vectors = clip_embeddings(clips, space=load_space("tiny"))
    nearest = [row[0] for row in opened.captions(opened.search(vectors, 1).rows)]
    kinds = [str(kind) for kind in clips.columns["label"]]
    right = [names(text, kind) for text, kind in zip(nearest, kinds, strict=True)]
    return sum(right) / len(right)


def draw(path: Path, folder: Path, only: Sequence[str], seeds: Sequence[int] = ()) -> None:
    """Draw the curve: SDRi less that of `audio` against the size of the cache, by origin."""
    from trainer.ablation import read_ablation, summarise_arms
    from trainer.ablation.plot import figure_class

    plan = Path(__file__).with_name("cache-size.toml")
    ablation = read_ablation(plan, folder / "ablation", only=only, seeds=seeds)
    lines: dict[str, list[tuple[int, Interval]]] = {}
    levels = {"audio": 0.0}
    for one in summarise_arms(ablation):
        origin, _, size = one.arm.name.rpartition(", ")
        if one.to_baseline is None:
            continue
        if size.isdigit():
            lines.setdefault(origin, []).append((int(size), one.to_baseline))
        else:
            levels[one.arm.name] = one.to_baseline.mean
    figure = figure_class()((7.5, 4.4), dpi=110, layout="constrained")
    axes = figure.subplots()
    for name, level in levels.items():
        axes.axhline(level, color="#9a9a9a", linestyle=":", linewidth=1)
        axes.annotate(name, (9, level), va="bottom", color="#555555")
    for place, (origin, points) in enumerate(lines.items()):
        # Points of one size side by side, so that their intervals can be told apart.
        sizes = [size * 1.08 ** (place - (len(lines) - 1) / 2) for size, _ in points]
        heights = [mean.mean for _, mean in points]
        below = [mean.mean - mean.low for _, mean in points]
        above = [mean.high - mean.mean for _, mean in points]
        axes.errorbar(sizes, heights, (below, above), marker="o", capsize=3, label=origin)
    axes.set_xscale("log")
    axes.set_xticks([10, 100, 1000, 10000], ["10", "100", "1,000", "10,000"])
    axes.set_xlabel("captions in the cache")
    axes.set_ylabel("SDRi less that of `audio`, dB, text queries")
    axes.legend(frameon=False, loc="lower right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, metadata={"Software": None})


def _ablate(walk: Walk, name: str, *words: str) -> None:
    walk.heading(f"Train: {name}")
    plan = os.path.relpath(Path(__file__).with_name(f"{name}.toml"), walk.folder)
    walk.run("lqtse", "ablate", plan, "--out", "ablation", *words, again=True)


def _column(path: Path, name: str) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def _imported(walk: Walk, name: str) -> None:
    walk.run("lqtse-cache", "import", f"caches/{name}", "--captions", f"{name}.txt")
    walk.run("lqtse-cache", "embed", f"caches/{name}", "--space", "tiny")


def _write(walk: Walk, name: str, lines: Iterable[str]) -> None:
    text = "".join(f"{' '.join(line.split())}\n" for line in lines)
    (walk.folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(console.run(app, "run.py"))
