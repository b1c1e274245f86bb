"""What several captions a request do to diversity and to captions a second.

For each template and number of captions a request, a new cache is written about the same few sounds
with the same seed, and measured: how alike two captions of one answer are, beside two captions of
different answers on the same sound and in the same register; how many were refused as repetitions;
distinct-2 and self-BLEU of the same number of captions.

    python benchmarks/echo.py --backend grammar -n 600
    python benchmarks/echo.py --backend local -n 300
    python benchmarks/echo.py --backend local --style chat --per-request 5 -n 100
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cache_store.cache import open_cache
from cache_store.errors import DataError
from pipeline.diversity_report import measure_cache
from pipeline.generate import Report, generate
from pipeline.llm.base import PromptStyle
from pipeline.llm.select import open_backend
from pipeline.panel import Progress
from prompts.bank import ConceptBank
from prompts.plan import Plan, Sampling
from prompts.templating import TEMPLATES

SOUNDS = (
    "dog",
    "rain",
    "church bell",
    "kettle",
    "footsteps",
    "helicopter",
    "door",
    "violin",
    "thunder",
    "frog",
    "vacuum cleaner",
    "police siren",
    "train",
    "applause",
    "ocean waves",
    "chainsaw",
    "cat",
    "clock ticking",
    "baby crying",
    "piano",
)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("grammar", "local"), default="grammar")
    parser.add_argument("--style", choices=("chat", "completion"))
    parser.add_argument("--templates", help="with commas; by default all of the style")
    parser.add_argument("--per-request", default="1,3,5")
    parser.add_argument("-n", type=int, default=600, help="captions a cache")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    style = options.style or ("completion" if options.backend == "local" else "chat")
    names = [name for name, one in TEMPLATES.items() if one.style == style]
    if options.templates:
        names = options.templates.split(",")
    print(
        "| template | captions a request | kept | kept of judged | alike within an answer "
        "| alike across answers | duplicates refused | distinct-2 | self-BLEU-4 "
        "| captions a second |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for count in map(int, options.per_request.split(",")):
                cache = Path(folder) / f"{name}-{count}"
                print(
                    "| " + " | ".join(_row(cache, name, count, style, options)) + " |", flush=True
                )


def _row(
    cache: Path, template: str, count: int, style: PromptStyle, options: argparse.Namespace
) -> Iterator[str]:
    chosen = open_backend(options.backend, style=style if options.backend == "local" else None)
    plan = Plan(
        bank=ConceptBank.from_names(SOUNDS),
        seed=options.seed,
        model=chosen.backend.model,
        sampling=Sampling(TEMPLATES[template].temperature),
        template=template,
        per_request=count,
    )
    progress = Progress()
    try:
        report: Report | None = generate(cache, plan, chosen.backend, options.n, progress=progress)
    except DataError:  # too few new captions: what there is, is measured
        report = None
    kept, rejected = progress.kept, progress.rejected
    repeated = rejected["duplicate"] + rejected["near_duplicate"]
    judged = kept + sum(rejected.values())
    with open_cache(cache) as store:
        found = measure_cache(store, sample=options.n)
    yield template
    yield str(count)
    yield f"{kept}" + ("" if report is not None else " (gave up)")
    yield f"{kept / judged:.1%}"
    within = found.echo.within
    yield "" if within is None else f"{within:.3f}"
    yield f"{found.echo.across:.3f}"
    yield f"{repeated / judged:.1%}"
    yield f"{found.sets[0].distinct[1]:.3f}"
    yield f"{found.sets[0].self_bleu:.3f}"
    yield f"{kept / progress.seconds:.2f}"


if __name__ == "__main__":
    main()
