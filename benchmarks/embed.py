"""Captions a second through a full-size CLAP text tower: ours, laion-clap's, transformers'.

    python benchmarks/embed.py --captions CSV --laion-python PATH

Same random weights, tokenizer and captions for all, tokenising included, and the same number of CPU
threads. Each method lives in a process of its own and they take turns over parts of the captions,
so that other load on the machine meets all of them; slower methods get the first captions of each
part only, and their rate is that of what they did. laion-clap (in the environment that
`tests/laion/run.sh` makes) pads every caption to 77 tokens; transformers' `ClapModel` is fed in
file order, padded to the longest of a batch. Rates are by the clock and by the CPU's time, which
tells more where other work runs.

`peak` is the share of the rate of a large matrix product, in the same precision and process, that
the tower reaches: 2 operations a weight of its linear layers and real token. Vectors are compared
with laion-clap's in float32 (transformers' where it is left out), and the run fails if they differ.
With `--device cuda` the first two methods run on the GPU, and the rate is by the clock.
"""

from __future__ import annotations

import argparse
import csv
import importlib.machinery
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).resolve()
BATCH = 64  # captions that laion-clap and transformers are given at once
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
PEAK_SIZE = {"cpu": 2048, "cuda": 8192}
Embed = Callable[[list[str]], Any]


class Method(NamedTuple):
    """One way to embed.

    Attributes:
        label: For the table.
        part: The share of the captions that it is given.
        precision: `float32` or `bfloat16`.
        least_cosine: To the reference, a row.
        most_gap: To the reference, a value; None where the cosine is all that is promised.
    """

    label: str
    part: float
    precision: str
    least_cosine: float
    most_gap: float | None


METHODS = {
    "bfloat16": Method("lqtse, bfloat16", 1, "bfloat16", 0.9999, None),
    "float32": Method("lqtse, float32", 1 / 4, "float32", 0.99999, 1e-4),
    "transformers": Method("transformers ClapModel, file order", 1 / 8, "float32", 0.99999, 1e-4),
    "laion": Method("laion-clap get_text_embedding", 1 / 32, "float32", 0.99999, 1e-4),
}


def read_captions(path: Path, count: int) -> list[str]:
    """The first captions of a CSV file with a column `caption`, in its order."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [row["caption"] for row, _ in zip(csv.DictReader(lines), range(count), strict=False)]


def make_tokenizer(folder: Path, given: Path | None, captions: list[str]) -> Any:
    """RoBERTa's kind of tokenizer: the given vocab.json and merges.txt, else trained here."""
    from transformers import RobertaTokenizerFast

    if given is None:
        from tokenizers import ByteLevelBPETokenizer

        trained = ByteLevelBPETokenizer()
        trained.train_from_iterator(
            captions, vocab_size=50_265, special_tokens=SPECIAL, show_progress=False
        )
        trained.save_model(str(folder))
        given = folder
    return RobertaTokenizerFast.from_pretrained(given, model_max_length=512)


def make_model(folder: Path, words: int) -> None:
    """A ClapModel of the published size with random weights, as wide as trained ones.

    transformers' own start is so narrow that all texts embed alike.
    """
    import torch
    from transformers import ClapConfig, ClapModel

    torch.manual_seed(0)
    model = ClapModel(ClapConfig(text_config={"vocab_size": words})).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.startswith("text"):
                if tensor.ndim >= 2:
                    scale = 1.0 if "embedding" in name else tensor[0].numel() ** -0.5
                    tensor.normal_(std=scale)
                else:
                    tensor.add_(0.1 * torch.randn_like(tensor))
    model.save_pretrained(folder)


def prepare(root: Path, captions: list[str], tokenizer: Path | None) -> int:
    """Write the model for all methods; returns how many tokens the captions have."""
    from transformers import ClapFeatureExtractor, ClapProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    root.mkdir()
    tokens = make_tokenizer(root, tokenizer, captions)
    make_model(root, len(tokens))
    extractor = ClapFeatureExtractor(
        frequency_min=50, frequency_max=14_000, truncation="rand_trunc"
    )
    ClapProcessor(extractor, tokens).save_pretrained(root)
    return sum(len(ids) for ids in tokens(captions, truncation=True, max_length=77)["input_ids"])


def ours(root: Path, precision: str, device: str) -> Embed:
    """This project's."""
    from cache_store.spaces import load_space

    return load_space(f"hf:{root}", device=device, precision=precision).embed_text


def with_transformers(root: Path, device: str) -> Embed:
    """What one writes with transformers: batches as they come, padded to their longest."""
    import torch
    from transformers import AutoTokenizer, ClapModel

    tokens = AutoTokenizer.from_pretrained(root)
    model = ClapModel.from_pretrained(root).eval().to(device)

    def embed(texts: list[str]) -> Any:
        found = []
        for begin in range(0, len(texts), BATCH):
            batch = tokens(
                texts[begin : begin + BATCH],
                padding=True,
                truncation=True,
                max_length=77,
                return_tensors="pt",
            ).to(device)
            with torch.inference_mode():
                answer = model.get_text_features(**batch)
            vectors = answer if isinstance(answer, torch.Tensor) else answer.pooler_output
            found.append(vectors.float().cpu().numpy())
        return np.concatenate(found)

    return embed


class Nothing(types.ModuleType):
    """Stands in for torchvision, of which the text tower uses nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return sys.modules.get(f"{self.__name__}.{name}") or type(name, (), {})


def with_laion(root: Path) -> Embed:
    """The laion-clap package, with folders in the hub's place and the weights of the others."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, BertTokenizer, RobertaConfig, RobertaModel

    tokens = AutoTokenizer.from_pretrained(root)
    config = RobertaConfig(
        vocab_size=len(tokens),
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=json.loads((root / "config.json").read_text())["text_config"][
            "layer_norm_eps"
        ],
    )
    with tempfile.TemporaryDirectory() as offline:
        os.chdir(offline)
        RobertaModel(config).save_pretrained("roberta-base")
        for name in ("roberta-base", "facebook/bart-base"):
            tokens.save_pretrained(name)
        Path("words.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n", encoding="utf-8")
        BertTokenizer("words.txt").save_pretrained("bert-base-uncased")
        for name in ("", ".datasets", ".transforms", ".ops", ".ops.misc"):
            sys.modules.setdefault(f"torchvision{name}", Nothing(f"torchvision{name}"))
        import laion_clap

        package = laion_clap.CLAP_Module(enable_fusion=False, device="cpu")
        os.chdir(HERE.parent)
    state = {
        name.replace("text_model.", "text_branch.")
        .replace("text_projection.linear1", "text_projection.0")
        .replace("text_projection.linear2", "text_projection.2"): tensor
        for name, tensor in load_file(root / "model.safetensors").items()
        if name.startswith("text") and not name.endswith(("position_ids", "token_type_ids"))
    }
    unknown = package.model.load_state_dict(state, strict=False).unexpected_keys
    if unknown:
        raise RuntimeError(f"laion-clap does not know {unknown[0]}")
    package.model.eval()

    def embed(texts: list[str]) -> Any:
        with torch.inference_mode():
            parts = [
                package.get_text_embedding(texts[begin : begin + BATCH])
                for begin in range(0, len(texts), BATCH)
            ]
        return np.concatenate(parts)

    return embed


def peak(precision: str, device: str) -> float:
    """Operations a second of a large product: a CPU second, on a GPU by the clock."""
    import torch

    kind = device.partition(":")[0]
    size = PEAK_SIZE[kind]
    left, right = (
        torch.randn(size, size, device=device, dtype=getattr(torch, precision)) for _ in range(2)
    )
    best = float("inf")
    for turn in range(4):
        began, worked = time.perf_counter(), time.process_time()
        torch.mm(left, right)
        if kind == "cuda":
            torch.cuda.synchronize()
            seconds = time.perf_counter() - began
        else:
            seconds = time.process_time() - worked
        if turn:  # the first sets things up
            best = min(best, seconds)
    return 2 * size**3 / best


def serve(options: argparse.Namespace) -> None:
    """One method: for each line with a part of the captions, a line with what it took."""
    answers, sys.stdout = sys.stdout, sys.stderr  # packages print what they like
    import torch

    torch.set_num_threads(options.threads)
    method = METHODS[options.method]
    captions = json.loads((options.root.parent / "captions.json").read_text(encoding="utf-8"))
    if options.method == "laion":
        embed = with_laion(options.root)
    elif options.method == "transformers":
        embed = with_transformers(options.root, options.device)
    else:
        embed = ours(options.root, method.precision, options.device)
    embed(captions[:BATCH])  # the first call sets things up
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        begin, end = json.loads(line)
        rate = peak(method.precision, options.device) if method.label.startswith("lqtse") else 0
        began, worked = time.perf_counter(), time.process_time()
        vectors = embed(captions[begin:end])
        took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - worked}
        np.save(options.root.parent / f"{options.method}-{begin}.npy", vectors)
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({**took, "peak": rate, "mb": kilobytes / 1024}), file=answers, flush=True)


class Taken(NamedTuple):
    """What a method did in all turns."""

    rows: list[int]
    vectors: Any
    seconds: float
    cpu: float
    peak: float
    mb: float


def take_turns(options: argparse.Namespace, root: Path, names: list[str]) -> dict[str, Taken]:
    """Let the methods work by turns, each in its process."""
    threads = {name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    environment = {
        **os.environ,
        **threads,
        "OMP_WAIT_POLICY": "PASSIVE",  # who waits for a turn leaves the cores alone
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(HERE.parents[1]),
    }
    part = options.n // options.turns
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    rows: dict[str, list[int]] = {name: [] for name in names}
    with tempfile.TemporaryFile() as noise:
        staff = {}
        for name in names:
            python = options.laion_python if name == "laion" else sys.executable
            command = [python, HERE, "--method", name, "--root", root, "--captions", "-"]
            command += ["--threads", str(options.threads), "--device", options.device]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            staff[name] = subprocess.Popen(
                command, env=environment, stderr=noise, text=True, **pipes
            )
        try:
            for name, process in staff.items():
                if not process.stdout.readline():  # ready
                    noise.seek(0)
                    lines = noise.read().decode(errors="replace").splitlines()
                    raise RuntimeError(f"{name} did not start: {lines[-1:]}")
            for turn in range(options.turns):
                for name, process in staff.items():
                    begin = turn * part
                    end = begin + max(1, int(part * METHODS[name].part))
                    process.stdin.write(f"[{begin}, {end}]\n")
                    process.stdin.flush()
                    answers[name].append(json.loads(process.stdout.readline()))
                    rows[name] += range(begin, end)
        finally:
            for process in staff.values():
                process.stdin.close()
                process.wait()
    return {
        name: Taken(
            rows[name],
            np.concatenate(
                [np.load(root.parent / f"{name}-{t * part}.npy") for t in range(len(a))]
            ),
            sum(turn["seconds"] for turn in a),
            sum(turn["cpu"] for turn in a),
            max(turn["peak"] for turn in a),
            a[-1]["mb"],
        )
        for name, a in answers.items()
    }


def compare(taken: dict[str, Taken], reference: str) -> dict[str, tuple[float, float]]:
    """Least cosine and largest difference of a value to the reference, over the rows of both."""
    found = {}
    theirs = dict(zip(taken[reference].rows, unit(taken[reference].vectors), strict=True))
    for name, one in taken.items():
        mine = dict(zip(one.rows, unit(one.vectors), strict=True))
        both = sorted(mine.keys() & theirs.keys())
        a, b = (np.stack([side[row] for row in both]) for side in (mine, theirs))
        found[name] = float((a * b).sum(axis=1).min()), float(np.abs(a - b).max())
    return found


def unit(vectors: Any) -> Any:
    """Rows of norm 1, in float64."""
    wide = np.asarray(vectors, dtype=np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def operations(root: Path) -> int:
    """Of the tower's linear layers, a token: two a weight."""
    text = json.loads((root / "config.json").read_text(encoding="utf-8"))["text_config"]
    width, inner = text["hidden_size"], text["intermediate_size"]
    weights = text["num_hidden_layers"] * (4 * width * width + 2 * width * inner)
    return 2 * int(weights)


def run(options: argparse.Namespace) -> int:
    """Measure all, print a Markdown table; 1 if the vectors differ by more than they may."""
    names = list(METHODS)
    if options.device != "cpu" or options.laion_python is None:
        names.remove("laion")
    captions = read_captions(options.captions, options.n)
    options.n = len(captions)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "clap"
        tokens = prepare(root, captions, options.tokenizer)
        (root.parent / "captions.json").write_text(json.dumps(captions), encoding="utf-8")
        taken = take_turns(options, root, names)
        work = operations(root) * tokens / len(captions)  # of a mean caption
    reference = names[-1]
    found = compare(taken, reference)
    import torch

    print(
        f"{len(captions):,} captions of {tokens / len(captions):.1f} tokens, {options.device}, "
        f"{options.threads} threads, {options.turns} turns, load {os.getloadavg()[0]:.1f}, "
        f"torch {torch.__version__}, Python {platform.python_version()}; "
        f"reference: {METHODS[reference].label}\n\n"
        "| | captions | a second | a CPU second | to laion-clap | to transformers | peak | "
        "GFLOP/s of the peak | least cosine | largest difference | MB |\n|" + "---|" * 11
    )
    cpu = options.device == "cpu"
    # On a CPU by the time that the process used, whatever else ran.
    rates = {name: len(one.rows) / (one.cpu if cpu else one.seconds) for name, one in taken.items()}
    right = True
    for name, one in taken.items():
        method, (cosine, gap) = METHODS[name], found[name]
        right = right and cosine >= method.least_cosine and gap <= (method.most_gap or gap)
        cells = [
            method.label,
            f"{len(one.rows):,}",
            f"{len(one.rows) / one.seconds:.1f}",
            f"{len(one.rows) / one.cpu:.1f}",
            f"{rates[name] / rates['laion']:.1f}" if "laion" in rates else "",
            f"{rates[name] / rates['transformers']:.2f}",
            f"{rates[name] * work / one.peak:.0%}" if one.peak else "",
            f"{one.peak / 1e9:,.0f}" if one.peak else "",
            f"{cosine:.6f}",
            f"{gap:.1e}",
            f"{one.mb:,.0f}",
        ]
        print(f"| {' | '.join(cells)} |")
    if not right:
        print("the vectors differ by more than they may", file=sys.stderr)
    return 0 if right else 1


def main() -> int:
    """Read the command line, and compare; or, in the process of one method, serve it."""
    parser = argparse.ArgumentParser(description="Captions a second through a CLAP text tower.")
    parser.add_argument("--captions", type=Path, required=True, help="a CSV file with `caption`")
    parser.add_argument("-n", type=int, default=4096, help="captions, the first of the file")
    parser.add_argument("--tokenizer", type=Path, help="a folder with vocab.json and merges.txt")
    parser.add_argument("--laion-python", help="of an environment that has laion-clap")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method is None:
        return run(options)
    serve(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
