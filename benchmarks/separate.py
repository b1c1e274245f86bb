"""AudioSep's network, here and in its public implementation: time, peak memory, equality.

    git clone https://github.com/Audio-AGI/AudioSep
    pip install torchlibrosa          # of the peer
    python benchmarks/separate.py --audiosep AudioSep --whole 10 30 --chunked 10 300
    python benchmarks/separate.py --seconds 3600 --ways "ours bf16"

The same random weights in both, one thread, noise at 32 kHz. Each measurement is a process of its
own: its CPU time for the audio (loading left out), which is the real-time factor of one core, and
its peak memory, weights included. Ours goes through `trainer.streaming`, as `lqtse separate` does;
the peer by its whole-file way, as far as memory goes, and by its chunks. Outputs (the first minute)
are compared with the peer's whole-file one, or with ours in float32 beyond its lengths.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

RATE = 32_000
BLOCK_SECONDS = 5
DIM = 512
OURS = ("ours float32", "ours bf16")
PEER = ("peer whole", "peer chunked")
COMPARED_SECONDS = 60  # of the output that is kept


def noise(seconds: int) -> Iterator[np.ndarray[Any, Any]]:
    """Blocks `[1, T]`."""
    rng = np.random.default_rng(0)
    for begin in range(0, seconds, BLOCK_SECONDS):
        length = min(BLOCK_SECONDS, seconds - begin) * RATE
        yield (0.1 * rng.standard_normal((1, length))).astype(np.float32)


def measure(args: argparse.Namespace) -> None:
    """One way, in this process; prints JSON."""
    import torch

    from tests.assets.audiosep.rule import conditions

    torch.set_num_threads(1)
    condition = torch.from_numpy(conditions()[:1])
    run = _ours(args) if args.measure in OURS else _peer(args)
    with torch.no_grad():
        run(1, condition)  # the first call sets up kernels
        begin = time.process_time()
        out = run(args.seconds[0], condition)
        spent = time.process_time() - begin
    np.save(args.keep, out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": spent, "mib": peak}))


def _weights(shapes: dict[str, list[int]]) -> dict[str, Any]:
    import torch

    from tests.assets.audiosep.rule import is_made, ruled

    return {
        name: torch.from_numpy(ruled(name, shape))
        for name, shape in shapes.items()
        if is_made(shapes, name)
    }


def _ours(args: argparse.Namespace) -> Any:
    import torch

    from tests.assets.audiosep import rule
    from trainer.models.audiosep import our_name
    from trainer.models.resunet import ResUNetSize
    from trainer.precision import set_precision
    from trainer.streaming import separate_blocks

    shapes = json.loads((Path(rule.__file__).parent / "keys.json").read_text())
    model = ResUNetSize().build(condition_dim=DIM, sample_rate=RATE).eval()
    renamed = {our_name(name): tensor for name, tensor in _weights(shapes).items()}
    renamed.pop(None, None)
    model.load_state_dict(renamed, strict=False)
    set_precision(model, "bf16" if args.measure.endswith("bf16") else "no")

    def run(seconds: int, condition: Any) -> np.ndarray[Any, Any]:
        kept: list[np.ndarray[Any, Any]] = []
        for part in separate_blocks(model, noise(seconds), condition[0], torch.ones(1)):
            if sum(k.shape[1] for k in kept) < COMPARED_SECONDS * RATE:
                kept.append(part.copy())
        return np.concatenate(kept, axis=1)[0, : COMPARED_SECONDS * RATE]

    return run


def _peer(args: argparse.Namespace) -> Any:
    # Its package is called `models`, as a script beside this one is.
    sys.path[:] = [str(args.audiosep), *(p for p in sys.path if Path(p) != Path(__file__).parent)]
    import torch
    from models.resunet import ResUNet30

    model = ResUNet30(input_channels=1, output_channels=1, condition_size=DIM).eval()
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict(_weights(shapes), strict=False)

    def run(seconds: int, condition: Any) -> np.ndarray[Any, Any]:
        mixture = torch.from_numpy(np.concatenate(list(noise(seconds)), axis=1))[None]
        given = {"mixture": mixture, "condition": condition}
        if args.measure == "peer chunked":
            out = model.chunk_inference(given)[0]
        else:
            out = model(given)["waveform"][0, 0].numpy()
        return out[: COMPARED_SECONDS * RATE].astype(np.float32)

    return run


def sdr(estimate: np.ndarray[Any, Any], reference: np.ndarray[Any, Any]) -> float:
    """In dB."""
    length = min(len(estimate), len(reference))
    error = np.square(estimate[:length] - reference[:length], dtype=np.float64).sum()
    return float(10 * np.log10(np.square(reference[:length], dtype=np.float64).sum() / error))


def measured(way: str, seconds: int, audiosep: Path | None, keep: Path) -> dict[str, Any]:
    """One way, in a process of its own; what came out lies in `keep`."""
    command = [sys.executable, __file__, "--measure", way, "--keep", str(keep)]
    command += ["--seconds", str(seconds)]
    command += ["--audiosep", str(audiosep)] if audiosep else []
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    told = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | one_thread
    )
    facts: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return facts


def growth(whole: dict[int, float], longest: int) -> str:
    """What the peer's whole-file way would take at another length, by the line through two."""
    short, long = min(whole), max(whole)
    slope = (whole[long] - whole[short]) / (long - short)
    needed = (whole[short] + slope * (longest - short)) / 1024
    return f"The peer's whole-file way grows by {slope:.0f} MiB a second: {longest} s need " + (
        f"{needed:.0f} GiB."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audiosep", type=Path, help="a checkout of AudioSep; none for ours alone")
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 300, 3600], help="of ours")
    parser.add_argument("--whole", type=int, nargs="*", default=[10, 30], help="of the peer")
    parser.add_argument("--chunked", type=int, nargs="*", default=[10], help="of the peer")
    parser.add_argument("--ways", nargs="+", choices=OURS, default=OURS, help="of ours")
    parser.add_argument("--measure", choices=[*OURS, *PEER], help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args)
        return
    lengths = dict(zip(PEER, (args.whole, args.chunked), strict=True)) if args.audiosep else {}
    lengths |= dict.fromkeys(args.ways, args.seconds)
    whole: dict[int, float] = {}
    print("| seconds | way | CPU-s for a second | peak, MiB | SDR to the reference, dB |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for seconds in sorted({second for some in lengths.values() for second in some}):
            reference = None
            for way in (way for way, some in lengths.items() if seconds in some):
                keep = Path(folder) / "out.npy"
                facts = measured(way, seconds, args.audiosep, keep)
                if way == "peer whole":
                    whole[seconds] = facts["mib"]
                out = np.load(keep)
                same = f"{sdr(out, reference):.1f}" if reference is not None else "reference"
                # The peer's chunks give another output than the whole does.
                if reference is None and way != "peer chunked":
                    reference = out
                print(
                    f"| {seconds} | {way} | {facts['cpu'] / seconds:.3f} "
                    f"| {facts['mib']:,.0f} | {same if reference is not None else ''} |",
                    flush=True,
                )
    if len(whole) > 1 and max(args.seconds) > max(whole):
        print(growth(whole, max(args.seconds)))


if __name__ == "__main__":
    main()
