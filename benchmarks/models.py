"""Every separator in the registry: parameters, MACs, time and memory; the table of docs/models.md.

    python benchmarks/models.py [--seconds 10] [NAME ...]

MACs are those of convolutions and linear layers in one pass over a second of audio, counted by
hooks (a count of the plain way: slices do the same; products inside attention are not counted).
`clapsep` is measured on three audio towers: `tiny`'s, and CLAP's two sizes with random weights.
Real-time factor: CPU seconds of one thread for a second of audio, in evaluation, after a first
pass. Memory: the peak of a process that only does this, above its peak before the model was built.
Each model is measured in its own process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

DIM = 512
TOWERS = ("tiny", "htsat-tiny", "htsat-base")
RATES = {
    "clapsep on tiny": 8000,
    "small": 8000,
    "tdf": 8000,
    "base": 16_000,
}  # Hz; the others are for 32 kHz
OTHERS = 32_000


def macs(model: Any, mixture: Any, condition: Any) -> int:
    """Multiplications of one pass, without the Fourier transform and what is elementwise."""
    import torch
    from torch import nn

    total = 0

    def count(layer: Any, given: Any, out: Any) -> None:
        nonlocal total
        weight = layer.weight
        if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d):
            total += given[0].numel() * weight[0].numel()
        elif isinstance(layer, nn.Linear):
            total += out.numel() * weight.shape[1]
        else:
            total += out.numel() * weight[0].numel()

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
    layers = [layer for layer in model.modules() if isinstance(layer, kinds)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    with torch.enable_grad():  # where slices are not taken, which go past the hooks
        model(mixture, condition)
    for handle in handles:
        handle.remove()
    return total


def tower_called(name: str) -> Any:
    """An audio tower to build on; CLAP's have the sizes of the published ones and no more."""
    from cache_store.spaces import audio_tower, load_space

    if name == "tiny":
        return audio_tower(load_space("tiny", device="cpu"))
    from transformers import ClapAudioConfig
    from transformers.models.clap.modeling_clap import ClapAudioEncoder

    from cache_store.spaces.htsat import HtsatTower
    from cache_store.spaces.mel import MelSettings

    base = {"patch_embeds_hidden_size": 128, "hidden_size": 1024, "depths": [2, 2, 12, 2]}
    config = ClapAudioConfig(**(base if name == "htsat-base" else {}))
    return HtsatTower(ClapAudioEncoder(config), MelSettings(), f"clap:{name}")


def peak() -> float:
    """Of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, seconds: int) -> dict[str, Any]:
    """One model, in this process."""
    import torch

    from trainer.models import build_model

    torch.set_num_threads(1)
    rate = RATES.get(name, OTHERS)
    condition = torch.nn.functional.normalize(torch.randn(1, DIM), dim=-1)
    name, _, tower = name.partition(" on ")
    if tower:  # a tower is part of what it takes, its library is not
        import transformers.models.clap.modeling_clap  # noqa: F401
    before = peak()
    heard = tower_called(tower) if tower else None
    model = build_model(name, condition_dim=DIM, sample_rate=rate, tower=heard).eval()
    mixture = 0.1 * torch.randn(1, seconds * rate)
    with torch.no_grad():
        model(mixture[:, :rate], condition)
        begin = time.process_time()
        model(mixture, condition)
        spent = time.process_time() - begin
    memory = peak() - before
    return {
        "rate": rate,
        "parameters": sum(p.numel() for p in model.parameters()),
        "frozen": sum(b.numel() for b in heard.buffers()) if heard is not None else 0,
        "macs": macs(model, mixture, condition) / seconds,
        "rtf": spent / seconds,
        "mib": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="models; all by default")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.seconds)))
        return
    from trainer.models import MODELS, needs_tower

    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    print(
        "| model | sample rate, Hz | parameters | GMACs for a second | real-time factor, one core "
        f"| memory for {args.seconds} s, MiB | SDRi, dB |"
    )
    print("|---|---|---|---|---|---|---|")
    plain = [name for name in MODELS if not needs_tower(name)]
    for name in args.names or [*plain, *(f"clapsep on {tower}" for tower in TOWERS)]:
        told = subprocess.run(
            [sys.executable, __file__, "--measure", name, "--seconds", str(args.seconds)],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | one_thread,
        )
        facts = json.loads(told.stdout.splitlines()[-1])
        frozen = f" and {facts['frozen'] / 1e6:.2f} M frozen" if facts["frozen"] else ""
        print(
            f"| `{name}` | {facts['rate']:,} | {facts['parameters'] / 1e6:.2f} M{frozen} "
            f"| {facts['macs'] / 1e9:.2f} | {facts['rtf']:.3f} | {facts['mib']:,.0f} | |",
            flush=True,
        )


if __name__ == "__main__":
    main()
