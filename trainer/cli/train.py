"""`lqtse train`: train a separator on unlabelled audio and a caption cache."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from cache_store import console

if TYPE_CHECKING:
    from trainer.config import TrainConfig
    from trainer.training import Trained

HELP = """Train a separator on unlabelled audio, asked for sounds by the captions of a cache.

Settings come from defaults, then --config, then flags. Ctrl-C saves the state; --resume goes on.
Several devices: torchrun --nproc_per_node N --no-python lqtse train ...

\b
Examples:
  lqtse train --cache captions --audio recordings --out run
  lqtse train --cache captions --audio clips.csv --out run --strategy topk-mean \\
      --where "fold != 3" --valid-where "fold == 3"
  lqtse train --out run --resume
  lqtse train --cache captions --audio recordings --out tuned --init audiosep:FILE.ckpt \\
      --model resunet --sample-rate 32000 --seconds 5 --batch-size 4 --lr 1e-4
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("train", help=HELP)(train)


def train(
    cache: Annotated[Optional[str], typer.Option(help="The caption cache.")] = None,
    audio: Annotated[
        Optional[str],
        typer.Option(help="A folder, or a manifest (.csv .jsonl .parquet, AudioSep's .json)."),
    ] = None,
    out: Annotated[Optional[str], typer.Option(help="The folder of the run.")] = None,
    config: Annotated[
        Optional[Path], typer.Option(help="TOML file with settings; flags win over it.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in --out, or begin it."),
    ] = False,
    strategy: Annotated[
        Optional[str],
        typer.Option(
            help="Where a condition comes from: audio, noise, lafite, dropout, shift, top1, "
            "topk-mean, softmax, sample, mix, caption."
        ),
    ] = None,
    k: Annotated[Optional[int], typer.Option(help="Neighbours that topk-mean looks at.")] = None,
    embedding: Annotated[
        Optional[str], typer.Option(help="Embed the whole clip, or in every step the crop.")
    ] = None,
    centred: Annotated[
        Optional[bool],
        typer.Option("--centred", help="Search with the means of audio and text taken off."),
    ] = None,
    diversity: Annotated[
        Optional[float], typer.Option(help="How much several neighbours shall differ, 0 to 1.")
    ] = None,
    negative: Annotated[
        Optional[float],
        typer.Option(
            help="Steer conditions away from the interferer's, for `separate --not`: 0.5."
        ),
    ] = None,
    model: Annotated[
        Optional[str], typer.Option(help="small, base, tdf, resunet or clapsep.")
    ] = None,
    sizes: Annotated[
        Optional[str],
        typer.Option(help='What to change of its sizes: "channels=8,16,32 depth=2".'),
    ] = None,
    init: Annotated[
        Optional[str],
        typer.Option(help="Weights to begin with: a run, or audiosep:FILE."),
    ] = None,
    steps: Annotated[Optional[int], typer.Option(help="Optimizer steps.")] = None,
    seed: Annotated[Optional[int], typer.Option(help="Of everything random.")] = None,
    where: Annotated[
        Optional[str], typer.Option(help='Clips to train on: "fold != 4".', metavar="EXPR")
    ] = None,
    valid_where: Annotated[
        Optional[str], typer.Option(help='Clips to validate on: "fold == 3".', metavar="EXPR")
    ] = None,
    valid_audio: Annotated[
        Optional[str], typer.Option(help="Where clips to validate on come from, if not --audio.")
    ] = None,
    label_from_folder: Annotated[
        Optional[bool], typer.Option("--label-from-folder", help="A clip's folder is its label.")
    ] = None,
    space: Annotated[
        Optional[str],
        typer.Option(
            help="Model for audio without embeddings and for text queries: tiny, "
            "laion:CHECKPOINT, hf:ID_OR_FOLDER or stored:FILE.parquet. [default: the cache's own]"
        ),
    ] = None,
    space_name: Annotated[
        Optional[str],
        typer.Option(help="Where stored embeddings came from, if their file does not say."),
    ] = None,
    sample_rate: Annotated[Optional[int], typer.Option(help="Of the separator, in Hz.")] = None,
    seconds: Annotated[Optional[float], typer.Option(help="Length of a mixture.")] = None,
    batch_size: Annotated[Optional[int], typer.Option(help="Mixtures at once, a device.")] = None,
    accumulate: Annotated[
        Optional[int], typer.Option(help="Batches whose gradients make one step.")
    ] = None,
    snr_min: Annotated[Optional[float], typer.Option(help="Of the target, in dB.")] = None,
    snr_max: Annotated[Optional[float], typer.Option(help="Of the target, in dB.")] = None,
    interferers_max: Annotated[
        Optional[int], typer.Option(help="A mixture has 1 to this many interferers.")
    ] = None,
    level: Annotated[
        Optional[str], typer.Option(help="What the SNR is measured by: energy or loudness.")
    ] = None,
    augment_gain: Annotated[
        Optional[float], typer.Option(help="Change a mixture's level by up to this, in dB.")
    ] = None,
    augment_polarity: Annotated[
        Optional[bool], typer.Option("--augment-polarity", help="Flip sounds at random.")
    ] = None,
    augment_speed: Annotated[
        Optional[float], typer.Option(help="Sounds up to this share faster or slower: 0.1.")
    ] = None,
    augment_lowpass: Annotated[
        Optional[float], typer.Option(help="Dull every other sound, at this many Hz or more.")
    ] = None,
    memory_gb: Annotated[
        Optional[float], typer.Option(help="Most decoded audio to keep in memory, in GiB.")
    ] = None,
    disk_gb: Annotated[
        Optional[float], typer.Option(help="Most to keep in a file, where memory does not do.")
    ] = None,
    lr: Annotated[Optional[float], typer.Option(help="Peak learning rate.")] = None,
    warmup: Annotated[Optional[int], typer.Option(help="Steps to reach it.")] = None,
    schedule: Annotated[
        Optional[str], typer.Option(help="After it: cosine, linear or constant.")
    ] = None,
    ema: Annotated[
        Optional[float],
        typer.Option(help="Decay of an average of the weights that separates instead: 0.999."),
    ] = None,
    loss: Annotated[Optional[str], typer.Option(help="snr or l1.")] = None,
    valid_every: Annotated[
        Optional[int], typer.Option(help="Steps between validations (and checkpoints).")
    ] = None,
    early_stop: Annotated[
        Optional[int],
        typer.Option(help="End after this many validations without a better one.", metavar="N"),
    ] = None,
    valid_mixtures: Annotated[Optional[int], typer.Option(help="Held-out mixtures.")] = None,
    wandb: Annotated[
        Optional[str], typer.Option(help="Project of Weights & Biases for the curves.")
    ] = None,
    precision: Annotated[Optional[str], typer.Option(help="no, bf16 or fp16.")] = None,
    compile: Annotated[  # noqa: A002 - as torch calls it
        Optional[bool], typer.Option("--compile", help="Compile the model by torch.compile.")
    ] = None,
    device: Annotated[Optional[str], typer.Option(help="auto, cpu, cuda or mps.")] = None,
    workers: Annotated[Optional[int], typer.Option(help="Processes that make mixtures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    flags: dict[str, Any] = {
        "cache": cache,
        "audio": audio,
        "out": out,
        "strategy": strategy,
        "k": k,
        "embedding": embedding,
        "centred": centred,
        "diversity": diversity,
        "negative": negative,
        "model": model,
        "sizes": sizes,
        "init": init,
        "steps": steps,
        "seed": seed,
        "where": where,
        "valid_where": valid_where,
        "valid_audio": valid_audio,
        "label_from_folder": label_from_folder,
        "space": space,
        "space_name": space_name,
        "sample_rate": sample_rate,
        "seconds": seconds,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "snr_min": snr_min,
        "snr_max": snr_max,
        "interferers_max": interferers_max,
        "level": level,
        "augment_gain": augment_gain,
        "augment_polarity": augment_polarity,
        "augment_speed": augment_speed,
        "augment_lowpass": augment_lowpass,
        "memory_gb": memory_gb,
        "disk_gb": disk_gb,
        "lr": lr,
        "warmup": warmup,
        "schedule": schedule,
        "ema": ema,
        "loss": loss,
        "valid_every": valid_every,
        "early_stop": early_stop,
        "valid_mixtures": valid_mixtures,
        "wandb": wandb,
        "precision": precision,
        "compile": compile,
        "device": device,
        "workers": workers,
    }
    settings = read_settings(config, flags, resume=resume)
    from trainer.training import train as train_run

    done = train_run(settings, resume=resume)
    if done.main:
        _summarise(settings, done, as_json)


def read_settings(config: Path | None, flags: dict[str, Any], *, resume: bool) -> TrainConfig:
    """The configuration; of a run that goes on, the one that it began with, under the flags."""
    from trainer.config import TrainConfig

    if resume and config is None and flags["out"] is not None:
        stored = Path(flags["out"]) / "config.toml"
        config = stored if stored.is_file() else None
    return TrainConfig.load(config, flags)


def _summarise(config: TrainConfig, done: Trained, as_json: bool) -> None:
    from trainer.run import RunFolder

    result = done.result
    facts: dict[str, object] = {
        "run": config.out,
        "strategy": config.strategy,
        "model": f"{config.model}, {done.parameters:,} parameters",
        "clips": done.clips,
        "clips left out": done.rejects,
        "steps": result.steps,
        "mixtures a step": config.batch_size * config.accumulate * done.processes,
    }
    if result.steps < config.steps:
        facts["ended early"] = (
            f"{config.early_stop} validations without a better one, of {config.steps} steps"
        )
    if done.resumed_from:
        facts["resumed from step"] = done.resumed_from
    facts |= {
        "seconds": round(result.seconds, 1),
        "seconds a step": round(result.seconds_per_step, 4),
        "share of retrieval": f"{result.retrieval_share:.2%}",
    }
    if math.isfinite(result.loss):
        facts["last training loss"] = round(result.loss, 3)
    if result.best:
        facts |= {
            "validated with": f"{done.query_kind} queries, {done.held_out} mixtures",
            "best SDRi, dB": round(result.best["sdri"], 2),
            "best at step": result.best["step"],
        }
    if result.last:
        facts |= {
            "last SDRi, dB": round(result.last["sdri"], 2),
            "last SI-SDRi, dB": round(result.last["si_sdri"], 2),
            "last SDRi with audio queries, dB": round(result.last["sdri_audio_query"], 2),
        }
    facts |= {
        "separates with": "the average of the weights" if config.ema else "the weights",
        "checkpoint": str(
            RunFolder(Path(config.out)).checkpoint("best" if result.best else "last")
        ),
        "curves": shlex.join(["tensorboard", "--logdir", config.out]),
    }
    clips = config.valid_audio or config.audio
    command = ["lqtse", "evaluate", config.out, "--audio", clips]
    if config.valid_where:
        command += ["--where", config.valid_where]
    console.summarise(facts, as_json=as_json, next_command=shlex.join(command))
