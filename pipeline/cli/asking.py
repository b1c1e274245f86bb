"""The options that say what is asked and who answers: one definition for all commands that ask.

A command takes them as one parameter (`asking: Asking`) under the decorator `grouped`; a new
option is a new field here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cache_store.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pipeline.generate import Limits
    from pipeline.llm.prices import Price
    from pipeline.llm.select import Chosen
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


TEMPLATES = {"chat": "chat.v2", "completion": "completion.v2"}  # the newest of each style

Captions = Annotated[
    int,
    typer.Option(
        "-n",
        min=1,
        metavar="N",
        help="Captions to have in the end, earlier runs included.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Asking:
    """What is asked, and who answers."""

    concepts: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="Sounds to write about: one a line (.txt), .csv, or AudioSet's ontology (.json).",
            show_default="our own list",
        ),
    ] = None
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Of what is asked.")] = 0
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
    template: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAME",
            help="The version of the wording, such as chat.v1: to go on with a cache that was "
            "begun with an older one.",
            show_default="the newest of the style",
        ),
    ] = None
    per_request: Annotated[
        Optional[int],
        typer.Option(
            min=1, metavar="K", help="Captions a request.", show_default="5; completion: 1"
        ),
    ] = None
    temperature: Annotated[
        Optional[float],
        typer.Option(
            min=0.0,
            max=2.0,
            metavar="T",
            help="Of the sampling.",
            show_default="0.8; completion: 0.5",
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

    def bank(self) -> ConceptBank:
        """Read the concepts to write about."""
        from pipeline.concepts import read_concepts

        return read_concepts(self.concepts)

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

    def plan(self, bank: ConceptBank, model: str, style: str) -> Plan:
        """The requests that these options make, for the model and style of the backend."""
        from prompts.errors import PromptError
        from prompts.plan import Plan, Sampling
        from prompts.templating import find_template

        try:
            template = find_template(self.template or TEMPLATES[style])
            given = self.temperature
            if template.style != style:
                raise PromptError(
                    f"--template {template.name} asks for --style {template.style}, got {style}"
                )
            sampling = Sampling(template.temperature if given is None else given)
            return Plan(
                bank=bank,
                seed=self.seed,
                model=model,
                sampling=sampling,
                template=template.name,
                per_request=self.per_request,
            )
        except PromptError as error:
            raise UsageError(str(error)) from None

    def notes(self) -> dict[str, str]:
        """What the dataset card shall tell besides: whose concepts, and the model's licence."""
        found = {"concepts_from": self.concepts.name if self.concepts else "of lqtse"}
        if self.backend is BackendName.local:
            from pipeline.llm.weights import find_weights
            from pipeline.tokens.gguf import read_metadata

            weights = find_weights(self.model)
            if licence := read_metadata(weights).get("general.license"):
                found["model_license"] = f"{licence}, says {weights.name}"
        return found

    def words(self) -> list[str]:
        """The options as a user would type them, those left at their defaults left out.

        The address of a server comes without the password that it may hold.
        """
        from pipeline.llm.address import public_address

        typed: list[str] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value is True:
                typed.append(f"--{field.name.replace('_', '-')}")
            elif value != field.default:
                for one in value if isinstance(value, list) else [value]:
                    said = one.value if isinstance(one, Enum) else one
                    if field.name == "base_url":
                        said = public_address(str(one))
                    typed += [f"--{field.name.replace('_', '-')}", str(said)]
        return typed
