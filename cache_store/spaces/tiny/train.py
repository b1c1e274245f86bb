"""Train `tiny`: python -m cache_store.spaces.tiny.train --out FILE.

Symmetric contrastive training (InfoNCE with several positives): each clip's softmax over captions
is drawn towards the captions in the measure in which they agree (`batches.agreement`), each
caption's softmax over clips likewise, and captions of the same concept towards each other. AdamW,
one cycle of a cosine schedule. Reproducible from the seed on one machine with the same threads and
library versions. Cost: about six milliseconds of one core a clip and step.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any, Optional

import torch
import typer
from torch import Tensor

from cache_store.console import Advance, note, progress, run, summarise
from cache_store.errors import UsageError, storage_errors
from cache_store.spaces.tiny import features, tokens
from cache_store.spaces.tiny.batches import Batch, Batches, agreement
from cache_store.spaces.tiny.model import TinyClap
from cache_store.spaces.tiny.pool import Pool, build_pool, read_recordings

TRAIN_FOLDS = (1, 2, 3)  # of ESC-10; fold 4 is for evaluation only
_LARGEST_SCALE = math.log(40)  # a sharper softmax would only learn the batch by heart
_WORD_DROPOUT = 0.25  # how often a word is known by its n-grams only
_TEXT_SHARE = 0.3  # of the loss between captions, beside the two between clips and captions

app = typer.Typer(add_completion=False)


def spread_loss(logits: Tensor, agreements: Tensor) -> Tensor:
    """Cross-entropy of a softmax over columns against agreements, rows without any left out.

    Shape:
        - logits, agreements: [n, m]; agreements within [0, 1]
        - output: scalar
    """
    mass = agreements.sum(dim=1)
    some = mass > 0
    shares = agreements[some] / mass[some, None]
    return -(shares * logits[some].log_softmax(dim=1)).sum(dim=1).mean()


def batch_loss(model: TinyClap, batch: Batch, generator: torch.Generator) -> Tensor:
    """The loss of one batch: clips to captions, captions to clips, captions to captions."""
    mel = features.normalise(
        torch.from_numpy(batch.mels), torch.from_numpy(batch.ranges)[:, None, None]
    )
    clips = model.audio(mel)
    texts, rephrased = (_embed(model, lines, generator) for lines in (batch.texts, batch.rephrased))
    scale = model.log_scale.clamp(max=_LARGEST_SCALE).exp()
    true = torch.from_numpy(agreement(batch.audio, batch.text))
    same = torch.from_numpy(agreement(batch.text, batch.text))
    across = scale * clips @ texts.T
    within = scale * texts @ rephrased.T
    return (
        spread_loss(across, true)
        + spread_loss(across.T, true.T)
        + _TEXT_SHARE * spread_loss(within, same)
    )


def _embed(model: TinyClap, lines: list[str], generator: torch.Generator) -> Tensor:
    cut = tokens.tokenize(lines)
    weights = torch.from_numpy(cut.weights).clone()
    heads = torch.from_numpy(cut.offsets)
    kept = torch.rand(heads.numel(), generator=generator) >= _WORD_DROPOUT
    weights[heads] *= kept
    return model.text(cut, weights)


def train(
    pool: Pool,
    *,
    steps: int,
    seed: int,
    clips: int = 64,
    others: int = 32,
    rate: float = 2e-3,
    advance: Advance = lambda n=1, **facts: None,
) -> TinyClap:
    """Train a model on a pool.

    Args:
        pool: What it hears.
        steps: Optimiser steps.
        seed: Of the initial weights, the batches and dropout.
        clips: Clips in a batch.
        others: Captions in a batch that belong to no clip.
        rate: Highest learning rate.
        advance: Told of every step and its loss.
    """
    if steps < 1:
        raise UsageError("steps must be at least 1", found=steps)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TinyClap().train()
        # Channels last is how the convolutions are fastest on a CPU.
        for parameter in model.audio.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        optimizer = _optimizer(model, rate)
        warm = max(1, min(100, steps // 10))
        source = Batches(pool, seed, clips, others)
        for step in range(steps):
            progressed = (step - warm) / max(steps - warm, 1)
            factor = (
                (step + 1) / warm
                if step < warm
                else 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progressed))
            )
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            loss = batch_loss(model, source.batch(step), generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            advance(1, loss=float(loss.detach()))
    return model.eval()


def _optimizer(model: TinyClap, rate: float) -> torch.optim.Optimizer:
    """AdamW; biases, norms and the table of words (most rows rest in a batch) do not decay."""
    table = model.text.table.weight
    decayed = [p for p in model.parameters() if p.ndim > 1 and p is not table]
    others = [p for p in model.parameters() if p.ndim <= 1 or p is table]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": 0.02},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


def write_weights(model: TinyClap, path: Path) -> None:
    """Write a model as float16 safetensors (integers, the batch norms' counters, as they are)."""
    from safetensors.torch import save

    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous().clone()
        for name, tensor in model.state_dict().items()
    }
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(save(tensors))


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Where to write the weights (.safetensors).")],
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    per_kind: Annotated[int, typer.Option(help="Procedural clips of every trained kind.")] = 120,
    recordings: Annotated[
        Optional[Path],
        typer.Option(help="An ESC-10 folder (<class>/<fold>-*.ogg); its folds 1 to 3 are added."),
    ] = None,
    variants: Annotated[int, typer.Option(help="Versions of each recording.")] = 6,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train the two towers of tiny and write their weights.

    Example: OMP_NUM_THREADS=1 python -m cache_store.spaces.tiny.train --out weights.safetensors
    """
    from cache_store.spaces.tiny.sounds import TRAINED_KINDS

    begin = time.monotonic()
    real = read_recordings(recordings, TRAIN_FOLDS) if recordings else []
    with progress(
        "synthesise", per_kind * len(TRAINED_KINDS) + variants * len(real), "clips"
    ) as advance:
        pool = build_pool(per_kind, real, variants, seed, advance)
    note(f"pool ready after {time.monotonic() - begin:.0f} s")
    with progress("train", steps, "steps") as advance:
        model = train(pool, steps=steps, seed=seed, advance=advance)
    write_weights(model, out)
    summarise(
        {
            "weights": str(out),
            "clips": len(pool.kinds),
            "recordings": len(real),
            "steps": steps,
            "seed": seed,
            "seconds": round(time.monotonic() - begin),
        },
        as_json=as_json,
        next_command="python -m cache_store.spaces.tiny.evaluate",
    )


if __name__ == "__main__":
    raise SystemExit(run(app, "python -m cache_store.spaces.tiny.train"))
