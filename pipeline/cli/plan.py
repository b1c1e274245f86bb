"""`lqtse-cache plan`: what a run would ask, take and cost; sends nothing, writes nothing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cache_store import console
from cache_store.printing import printable
from pipeline.cli.asking import Asking, Captions
from pipeline.cli.options import AsJson, CacheFolder, Dtype, command_line, grouped

if TYPE_CHECKING:
    from pipeline.dry_run import Outlook
    from pipeline.llm.identity import Identity
    from pipeline.planning import Range
    from pipeline.tokens.count import TokenCounter
    from prompts.request import Request


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan")(command)


@grouped
def command(
    cache: CacheFolder,
    n: Captions,
    asking: Asking,
    append: Annotated[
        bool, typer.Option("--append", help="As for generate: beside what the cache has.")
    ] = False,
    tokenizer: Annotated[
        Optional[Path],
        typer.Option(
            metavar="PATH",
            help="The model's tokenizer: tokenizer.json, a folder with one, or a GGUF file.",
            show_default="the model's own if it is on this machine, else an estimate",
        ),
    ] = None,
    share_kept: Annotated[
        Optional[float],
        typer.Option(
            min=0.001,
            max=1.0,
            metavar="P",
            help="Captions kept, of those asked for.",
            show_default="from earlier runs, else assumed",
        ),
    ] = None,
    tokens_per_answer: Annotated[
        Optional[float],
        typer.Option(
            min=1.0,
            metavar="T",
            help="Tokens that one answer has.",
            show_default="from earlier runs, else assumed",
        ),
    ] = None,
    seconds_per_answer: Annotated[
        Optional[float],
        typer.Option(
            min=0.001,
            metavar="S",
            help="How long one answer takes.",
            show_default="from earlier runs",
        ),
    ] = None,
    dim: Annotated[
        int, typer.Option(min=1, metavar="D", help="Embedding size, for the space on disk.")
    ] = 512,
    dtype: Annotated[Dtype, typer.Option(help="How embeddings will be stored.")] = Dtype.float16,
    show: Annotated[
        int, typer.Option(min=0, metavar="K", help="Print K whole prompts, as they would be sent.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Say what a run would take: requests, tokens, cost, time and disk.

    Sends nothing and writes nothing. It takes the options of generate, so change the word when the
    numbers suit you. Each number comes with the range that it is believed to lie in, and with what
    it rests on; after a small first run, it rests on your own model's answers.

    \b
    Examples:
      lqtse-cache plan my-cache -n 300
      lqtse-cache plan my-cache -n 100000 --backend openai --model gpt-4o-mini --prices prices.json
      lqtse-cache plan my-cache -n 50000 --backend openai --model Qwen/Qwen3-8B \\
          --base-url http://127.0.0.1:8000/v1 --tokenizer Qwen3-8B/ --seconds-per-answer 2 --show 2
    """
    from pipeline.beliefs import Stated
    from pipeline.dry_run import look
    from pipeline.llm.identity import identify
    from pipeline.planning import Storage
    from pipeline.tokens.choose import choose_counter

    bank = asking.bank()
    identity = identify(
        asking.backend.value, asking.model, asking.style.value if asking.style else None
    )
    plan = asking.plan(bank, identity.model, identity.style)
    counter = choose_counter(identity, tokenizer)
    stated = Stated(
        share=share_kept,
        written=tokens_per_answer,
        seconds=seconds_per_answer,
        concurrency=asking.concurrency or identity.concurrency,
        price=asking.price(identity.model),
        requests_per_minute=asking.rpm,
        tokens_per_minute=asking.tpm,
        max_usd=asking.max_usd,
        max_tokens=asking.max_tokens,
        storage=Storage(dim, 2 if dtype is Dtype.float16 else 4),
    )
    outlook = look(cache, plan, identity, n, counter, stated)
    first = outlook.next_request
    following = _next(cache, n, asking, append, outlook)
    if as_json:
        facts = _record(outlook, counter)
        facts["prompts"] = [_sent(plan.request(first + place)) for place in range(show)]
        console.summarise(facts, as_json=True, next_command=following)
        return
    for place in range(show):
        _print(plan.request(first + place))
    if outlook.other_plan and not append:
        console.note("the cache has captions of another plan: generate will want --append")
    console.summarise(
        _facts(outlook, counter, identity),
        as_json=False,
        next_command=following,
        title=f"plan of {n:,} captions in {cache}: {identity.backend}, {printable(plan.model)}",
    )


def _next(cache: Path, n: int, asking: Asking, append: bool, outlook: Outlook) -> str:
    if not outlook.missing:
        return command_line("embed", cache, "--space", "tiny")
    more = ["--append"] if append or outlook.other_plan else []
    return command_line("generate", cache, "-n", n, *asking.words(), *more)


def _facts(outlook: Outlook, counter: TokenCounter, identity: Identity) -> dict[str, object]:
    seen = outlook.forecast
    facts: dict[str, object] = {
        "captions of this plan": f"{outlook.there:,}, {outlook.missing:,} missing",
        "captions in the cache": outlook.in_cache,
    }
    if not outlook.missing:
        return facts
    facts["requests"] = _said(seen.requests)
    if outlook.answered:
        facts["answered already"] = f"{outlook.answered:,}, which cost nothing"
    if identity.counts_tokens:
        facts |= {
            "tokens read": _said(seen.read),
            "tokens written": _said(seen.written),
        }
    if seen.usd is not None:
        facts["cost in USD"] = _said(seen.usd)
    if outlook.affordable is not None:
        facts[f"{outlook.bound} is enough for"] = f"about {outlook.affordable:,} more captions"
    facts["time"] = _time(outlook, identity)
    disk = ", ".join(f"{name} {_size(size)}" for name, size in outlook.storage.items())
    facts["disk"] = f"{_size(sum(outlook.storage.values()))}: {disk}"
    if identity.counts_tokens:
        facts["tokens counted by"] = _counted(outlook, counter)
    facts["share kept"] = f"{_said(outlook.share)}; {outlook.sources['share']}"
    if identity.counts_tokens:
        facts["tokens an answer"] = f"{_said(outlook.written_each)}; {outlook.sources['written']}"
    return facts


def _counted(outlook: Outlook, counter: TokenCounter) -> str:
    text = counter.name
    if outlook.corrected:
        text += f", corrected by {outlook.corrected:,} answers of the ledger"
    elif counter.error:
        text += f", off by {counter.error:.1%} at most"
    needed = round(outlook.forecast.requests.expected)
    if outlook.counted < needed:
        text += (
            f"; {outlook.counted:,} of {needed:,} requests, spread evenly, "
            f"standard error {outlook.sampling_error:.1%}"
        )
    else:
        text += f"; all {outlook.counted:,} requests"
    return text


def _time(outlook: Outlook, identity: Identity) -> str:
    from pipeline.panel import duration
    from pipeline.planning import PACE

    seconds = outlook.forecast.seconds
    if seconds is None and identity.backend == "openai-batch":
        return "not known: the server takes minutes to a day for each batch"
    if seconds is None:
        return "not known: give --seconds-per-answer, or run a few first"
    text = f"{duration(seconds.expected)} ({duration(seconds.low)} to {duration(seconds.high)})"
    source, bound = outlook.sources["pace"], outlook.forecast.bound
    least = "" if source else "at least "
    if source and bound != PACE:
        source = f"{PACE}: {source}"
    return f"{least}{text}, by {bound}" + (f" ({source})" if source else "")


def _record(outlook: Outlook, counter: TokenCounter) -> dict[str, object]:
    seen = outlook.forecast
    return {
        "captions of this plan": outlook.there,
        "captions in the cache": outlook.in_cache,
        "missing": outlook.missing,
        "needs append": outlook.other_plan,
        "requests": asdict(seen.requests),
        "answered already": outlook.answered,
        "requests sent": asdict(seen.sent),
        "tokens read": asdict(seen.read),
        "tokens written": asdict(seen.written),
        "cost in USD": asdict(seen.usd) if seen.usd is not None else None,
        "affordable captions": outlook.affordable,
        "seconds": asdict(seen.seconds) if seen.seconds is not None else None,
        "time bound by": seen.bound or None,
        "bytes": {name: round(size) for name, size in outlook.storage.items()},
        "tokenizer": {
            "name": counter.name,
            "error": counter.error,
            "requests counted": outlook.counted,
            "standard error": outlook.sampling_error,
            "corrected by answers": outlook.corrected,
        },
        "assumed": {
            "share kept": {**asdict(outlook.share), "source": outlook.sources["share"]},
            "tokens an answer": {
                **asdict(outlook.written_each),
                "source": outlook.sources["written"],
            },
            "tokens a request": asdict(outlook.read_each),
            "pace": outlook.sources["pace"] or None,
        },
    }


def _sent(request: Request) -> dict[str, object]:
    """A request as it would be sent, whatever the server's dialect makes of it."""
    asked: dict[str, object] = (
        {"messages": list(request.messages), "schema": request.schema}
        if request.is_chat
        else {"prompt": request.prompt, "stop": list(request.stop)}
    )
    return {
        "position": request.index,
        "request_id": request.id,
        **asked,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        "captions": request.count,
    }


def _print(request: Request) -> None:
    told = _sent(request)
    rest = {name: told[name] for name in told if name not in ("messages", "prompt", "position")}
    console.say(f"--- request {request.index:,} ---")
    for message in request.messages:
        console.say(f"[{message['role']}]")
        console.say(printable(message["content"], lines=True))
    if request.prompt:
        console.say(printable(request.prompt, lines=True))
    console.say(f"--- {printable(json.dumps(rest, ensure_ascii=False))}")
    console.say()


def _said(value: Range) -> str:
    """An expected value and its range, as whole as its size lets it be."""
    if value.low == value.high:
        return _number(value.expected)
    return f"{_number(value.expected)} ({_number(value.low)} to {_number(value.high)})"


def _number(value: float) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if value >= size:
            unit = 1000 if letter == "k" else size
            return f"{value / unit:,.3g} {letter}" if value < 1000 * unit else f"{value:,.0f}"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"
