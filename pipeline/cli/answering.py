"""The options that say who answers, how they are reached, and what may be spent on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cache_store.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.generate import Limits
    from pipeline.llm.prices import Price
    from pipeline.llm.select import Chosen


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


@dataclass(frozen=True)
class Answering:
    """Who answers, and how much may be asked of them."""

    backend: Annotated[
        BackendName,
        typer.Option(
            help="Who writes: a server (openai: any compatible one, its key in OPENAI_API_KEY; "
            "openai-batch: at half the price, within a day), a model on this machine (local: "
            "small, on the CPU; vllm: large, on GPUs), no model at all (grammar), a fake "
            "(scripted)."
        ),
    ] = BackendName.local
    model: Annotated[
        Optional[str],
        typer.Option(
            metavar="M",
            help="openai, openai-batch: the model's name; local: a GGUF file; vllm: a folder, or "
            "a name on Hugging Face.",
            show_default="local: the small one of `make models`",
        ),
    ] = None
    base_url: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="URL",
            help="openai: the server, such as http://127.0.0.1:8000/v1; give it several times to "
            "spread the requests over several servers.",
            show_default="OPENAI_BASE_URL, else OpenAI",
        ),
    ] = None
    concurrency: Annotated[
        Optional[int],
        typer.Option(
            min=1,
            metavar="C",
            help="Requests in flight; openai-batch: batches; local: copies of the model.",
            show_default="8; openai-batch: 4; vllm: 256; local: one a core",
        ),
    ] = None
    rpm: Annotated[
        Optional[int],
        typer.Option(min=1, metavar="R", help="Requests a minute.", show_default="no limit"),
    ] = None
    tpm: Annotated[
        Optional[int],
        typer.Option(
            min=1, metavar="T", help="Tokens a minute, read and written.", show_default="no limit"
        ),
    ] = None
    style: Annotated[
        Optional[Style],
        typer.Option(
            help="How to ask: chat, or completion for small and base models.",
            show_default="chat; local, and vllm without a chat template: completion",
        ),
    ] = None
    timeout: Annotated[
        Optional[float],
        typer.Option(
            min=1.0,
            metavar="SECONDS",
            help="openai: how long to wait for one answer.",
            show_default="120; 600 on this machine",
        ),
    ] = None
    workers: Annotated[
        Optional[int],
        typer.Option(
            min=1,
            metavar="W",
            help="openai: processes that send, for servers that one process cannot feed.",
            show_default="none beside this one",
        ),
    ] = None
    batch_requests: Annotated[
        Optional[int],
        typer.Option(
            min=1,
            max=50_000,
            metavar="B",
            help="openai-batch: requests a batch, at most.",
            show_default="5000",
        ),
    ] = None
    poll: Annotated[
        Optional[float],
        typer.Option(
            min=0.01,
            metavar="SECONDS",
            help="openai-batch: longest time between two looks at the batches.",
            show_default="120",
        ),
    ] = None
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait",
            help="openai-batch: collect what has ended, submit what is needed, and do not wait.",
        ),
    ] = False
    keep_files: Annotated[
        bool,
        typer.Option("--keep-files", help="openai-batch: leave the files at the server."),
    ] = False
    script: Annotated[
        Optional[str],
        typer.Option(
            metavar="LIST",
            help="scripted: behaviours to repeat, such as good,good,rate_limit,garbage.",
            show_default="good",
        ),
    ] = None
    max_model_len: Annotated[
        Optional[int],
        typer.Option(
            min=1,
            metavar="TOKENS",
            help="vllm: tokens a prompt and its answer may have.",
            show_default="the model's, 4096 at most",
        ),
    ] = None
    gpu_memory: Annotated[
        Optional[float],
        typer.Option(
            min=0.01,
            max=1.0,
            metavar="SHARE",
            help="vllm: share of a GPU's memory to take.",
            show_default="vLLM's own",
        ),
    ] = None
    tensor_parallel: Annotated[
        Optional[int],
        typer.Option(
            min=1, metavar="GPUS", help="vllm: GPUs to split the model over.", show_default="1"
        ),
    ] = None
    prices: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help='JSON, USD a million tokens: {"MODEL": {"input": 0.15, "output": 0.6}}; '
            "openai-batch: batch_input and batch_output where it has them.",
            show_default=False,
        ),
    ] = None
    max_usd: Annotated[
        Optional[float],
        typer.Option(
            min=0.0,
            metavar="X",
            help="What this cache may cost in all, earlier runs included; needs --prices.",
            show_default=False,
        ),
    ] = None
    max_tokens: Annotated[
        Optional[int],
        typer.Option(
            min=1,
            metavar="N",
            help="Tokens, read and written, this cache may take in all, earlier runs included.",
            show_default="no limit",
        ),
    ] = None
    requests_per_caption: Annotated[
        float,
        typer.Option(
            min=1.0,
            metavar="R",
            help="Give up when, over 200 requests, one usable caption takes more than this.",
        ),
    ] = 20.0

    def open(self) -> Chosen:
        """Make the backend that answers; nothing is sent."""
        from pipeline.llm.select import Batching, open_backend

        return open_backend(
            self.backend.value,
            model=self.model,
            base_urls=self.base_url or (),
            style=self.style.value if self.style is not None else None,
            concurrency=self.concurrency,
            timeout=self.timeout,
            workers=self.workers,
            batching=Batching(self.batch_requests, self.poll, self.no_wait, self.keep_files),
            max_model_len=self.max_model_len,
            gpu_memory=self.gpu_memory,
            tensor_parallel=self.tensor_parallel,
            script=tuple(name.strip() for name in (self.script or "").split(",") if name.strip()),
        )

    def price(self, model: str) -> Price | None:
        """Read what `model` costs; None without --prices."""
        from pipeline.llm.prices import read_price

        if self.prices is None:
            return None
        return read_price(self.prices, model, batch=self.backend is BackendName.openai_batch)

    def limits(self, chosen: Chosen) -> Limits:
        """How much a run may ask of the backend."""
        from pipeline.generate import Limits

        if chosen.source is not None and (self.rpm is not None or self.tpm is not None):
            raise ConfigError(
                [f"--rpm and --tpm are for single requests, not for --backend {self.backend.value}"]
            )
        return Limits(
            concurrency=chosen.concurrency,
            requests_per_caption=self.requests_per_caption,
            rpm=self.rpm,
            tpm=self.tpm,
            price=self.price(chosen.backend.model),
            max_usd=self.max_usd,
            max_tokens=self.max_tokens,
        )
