"""`lqtse-cache generate`: let a language model write captions."""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cache_store import console
from cache_store.errors import LqtseError, UsageError
from pipeline.cli.options import AsJson, CacheFolder, command_line

if TYPE_CHECKING:
    from pipeline.generate import Report
    from pipeline.panel import Progress
    from prompts.bank import ConceptBank
    from prompts.plan import Plan


class BackendName(str, Enum):
    """Who answers."""

    openai = "openai"
    openai_batch = "openai-batch"
    vllm = "vllm"
    local = "local"
    grammar = "grammar"
    scripted = "scripted"


class Style(str, Enum):
    """Which form of request a model reads."""

    chat = "chat"
    completion = "completion"


TEMPLATES = {"chat": "chat.v1", "completion": "completion.v1"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("generate")(command)


def command(
    cache: CacheFolder,
    n: Annotated[
        int,
        typer.Option(
            "-n",
            min=1,
            metavar="N",
            help="Captions to have in the end, earlier runs included.",
            show_default=False,
        ),
    ],
    concepts: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="Sounds to write about: one a line (.txt), .csv, or AudioSet's ontology (.json).",
            show_default="our own list",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Of what is asked.")] = 0,
    backend: Annotated[
        BackendName,
        typer.Option(
            help="Who writes: a server (openai: any compatible one, its key in OPENAI_API_KEY), a "
            "model on this machine (local), no model at all (grammar), a fake (scripted)."
        ),
    ] = BackendName.local,
    model: Annotated[
        Optional[str],
        typer.Option(
            metavar="M",
            help="openai: the model's name; local: a GGUF file.",
            show_default="local: the small one of `make models`",
        ),
    ] = None,
    base_url: Annotated[
        Optional[str],
        typer.Option(
            metavar="URL",
            help="openai: the server, such as http://127.0.0.1:8000/v1.",
            show_default="OPENAI_BASE_URL, else OpenAI",
        ),
    ] = None,
    concurrency: Annotated[
        Optional[int],
        typer.Option(
            min=1,
            metavar="C",
            help="Requests in flight; local: copies of the model.",
            show_default="8; local: one a core",
        ),
    ] = None,
    max_usd: Annotated[
        Optional[float],
        typer.Option(
            min=0.0,
            metavar="X",
            help="What this cache may cost in all, earlier runs included; needs --prices.",
            show_default=False,
        ),
    ] = None,
    prices: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help='JSON, USD a million tokens: {"MODEL": {"input": 0.15, "output": 0.6}}.',
            show_default=False,
        ),
    ] = None,
    append: Annotated[
        bool,
        typer.Option("--append", help="Add captions of another seed, model or list of concepts."),
    ] = False,
    style: Annotated[
        Optional[Style],
        typer.Option(
            help="How to ask: chat, or completion for small and base models.",
            show_default="chat; local: completion",
        ),
    ] = None,
    per_request: Annotated[
        Optional[int],
        typer.Option(
            min=1, metavar="K", help="Captions a request.", show_default="5; completion: 1"
        ),
    ] = None,
    temperature: Annotated[
        Optional[float],
        typer.Option(min=0.0, max=2.0, metavar="T", help="Of the sampling.", show_default="0.8"),
    ] = None,
    timeout: Annotated[
        Optional[float],
        typer.Option(
            min=1.0,
            metavar="SECONDS",
            help="openai: how long to wait for one answer.",
            show_default="120; 600 on this machine",
        ),
    ] = None,
    requests_per_caption: Annotated[
        float,
        typer.Option(
            min=1.0,
            metavar="R",
            help="Give up when, over 200 requests, one usable caption takes more than this.",
        ),
    ] = 20.0,
    script: Annotated[
        Optional[str],
        typer.Option(
            metavar="LIST",
            help="scripted: behaviours to repeat, such as good,good,rate_limit,garbage.",
            show_default="good",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a language model write captions, until the cache has N of them.

    Every answer is kept in the cache's ledger before it is used: after Ctrl-C, an error or a crash,
    run the same command again, and nothing that was answered is asked (or paid) twice.

    \b
    Examples:
      lqtse-cache generate my-cache -n 300
      lqtse-cache generate my-cache -n 100000 --backend openai --model gpt-4o-mini \\
          --prices prices.json --max-usd 5
      lqtse-cache generate my-cache -n 1000000 --backend openai --model Qwen/Qwen3-8B \\
          --base-url http://127.0.0.1:8000/v1 --concurrency 64
    """
    from pipeline.concepts import read_concepts
    from pipeline.generate import Limits, generate
    from pipeline.llm.prices import read_price
    from pipeline.llm.select import open_backend
    from pipeline.panel import Progress, plain_line, shown

    bank = read_concepts(concepts)
    chosen = open_backend(
        backend.value,
        model=model,
        base_url=base_url,
        style=style.value if style is not None else None,
        concurrency=concurrency,
        timeout=timeout,
        script=tuple(name.strip() for name in script.split(",")) if script else (),
    )
    writer = chosen.backend
    price = read_price(prices, writer.model) if prices is not None else None
    limits = Limits(chosen.concurrency, requests_per_caption, price, max_usd)
    plan = _plan(bank, seed, writer.model, TEMPLATES[writer.style], per_request, temperature)
    if not writer.uses_llm:
        console.note(f"no language model is involved: --backend {writer.name}")
    progress = Progress(title=f"{writer.name}, {writer.model}")
    try:
        with shown(progress) as changed:
            report = generate(
                cache,
                plan,
                writer,
                n,
                limits=limits,
                append=append,
                progress=progress,
                changed=changed,
            )
    except LqtseError:
        if progress.traffic.asked or progress.traffic.replayed:
            console.note(plain_line(progress))
        raise
    _end(cache, report, as_json)


def _plan(
    bank: ConceptBank,
    seed: int,
    model: str,
    template: str,
    per_request: int | None,
    temperature: float | None,
) -> Plan:
    from prompts.errors import PromptError
    from prompts.plan import Plan, Sampling

    try:
        sampling = Sampling() if temperature is None else Sampling(temperature=temperature)
        return Plan(
            bank=bank,
            seed=seed,
            model=model,
            sampling=sampling,
            template=template,
            per_request=per_request,
        )
    except PromptError as error:
        raise UsageError(str(error)) from None


def _end(cache: Path, report: Report, as_json: bool) -> None:
    if report.outcome == "stopped":
        console.note(
            f"stopped: {report.plan_total:,} of {report.progress.wanted:,} captions are in "
            f"{cache}, and every answer is in its ledger"
        )
        raise KeyboardInterrupt
    if report.outcome == "already there":
        console.note(f"nothing to do: the cache has {report.plan_total:,} captions of this plan")
    if report.outcome == "budget spent":
        raise UsageError(
            f"--max-usd is spent with {report.plan_total:,} of {report.progress.wanted:,} captions",
            where=cache,
            hint="What is kept can be used; a larger --max-usd goes on from here",
        )
    console.summarise(
        _facts(report),
        as_json=as_json,
        next_command=command_line("embed", cache, "--space", "tiny"),
        title=f"generated {cache}",
    )


def _facts(report: Report) -> dict[str, object]:
    progress: Progress = report.progress
    traffic = progress.traffic
    facts: dict[str, object] = {
        "captions kept": report.kept,
        "refused": report.rejected,
        "requests answered": traffic.asked,
        "answers from the ledger": traffic.replayed,
        "attempts failed": traffic.retries,
        "tokens read": traffic.prompt_tokens,
        "tokens written": traffic.completion_tokens,
    }
    if progress.share_kept is not None:
        facts["share kept"] = round(progress.share_kept, 3)
    if progress.priced:
        facts["cost in USD"] = round(traffic.usd, 6)
    facts["seconds"] = round(progress.seconds, 1)
    with suppress(ZeroDivisionError):
        facts["captions a second"] = round(report.kept / round(progress.seconds, 3), 2)
    facts["captions of this plan"] = report.plan_total
    facts["captions in the cache"] = report.cache_total
    return facts
