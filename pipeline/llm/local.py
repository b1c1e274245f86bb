"""A language model on this machine: GGUF weights, run in this process by llama.cpp (`xllamacpp`).

One engine per core, each with one thread and one sequence, rather than one engine with many threads
and many slots: on CPUs the products of a small model are no cheaper in a batch, slots read their
prompts one by one, and OpenMP threads that spin lose whole time slices on a busy machine. Measured
with SmolLM2-135M (Q4_1) on one busy core of two, tokens a CPU-second: 59 with 1 slot, 45 with 2,
26 with 8; with 2 threads a token could take 30 times longer.

Reading a prompt costs nearly as much as writing: 100 against 70 tokens a second. So each engine
keeps what it has read, and takes from the waiting requests one whose prompt has a long beginning in
common with that, and none with what other engines read. Weights are mapped into memory, once.

The same seed gives the same answer as far as llama.cpp does: the order in which prompts are read
may change the last bits of a probability. A rerun is exact all the same, since answers are the
ledger's.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cache_store.errors import BadAnswerError, DamagedError, MissingDependencyError
from pipeline.llm.base import Answer, PromptStyle, join_lines
from pipeline.llm.weights import model_name
from prompts.request import Request

CONTEXT = 1024  # tokens a prompt and its answer may have
AHEAD = 24  # requests in flight an engine: enough to choose well among their prompts


@dataclass
class _Engine:
    """One copy of the model.

    Attributes:
        server: xllamacpp's.
        read: The prompt that it has in its memory.
        busy: Whether it works.
    """

    server: Any
    read: str = ""
    busy: bool = False


@dataclass
class _Waiting:
    """A request that waits for an engine."""

    request: Request
    result: asyncio.Future[Answer] = field(repr=False)


class LocalBackend:
    """A GGUF model in this process; make it with `LocalBackend.load`.

    Nothing is loaded before the first request: a run that finds its work done takes no time.

    Args:
        weights: The GGUF file.
        start: Makes one engine, an xllamacpp server of these weights.
        engines: How many work side by side.
        style: Which form of request the model reads; small models do better with "completion".
    """

    name = "local"
    uses_llm = True
    offline = True

    def __init__(
        self,
        weights: Path,
        start: Callable[[], Any],
        engines: int,
        *,
        style: PromptStyle = "completion",
    ) -> None:
        self.weights = weights
        self.model = model_name(weights)
        self.style = style
        self._start = start
        self._count = engines
        self._engines: list[_Engine] = []
        self._loading = asyncio.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._threads = ThreadPoolExecutor(engines, thread_name_prefix="lqtse-llm")

    @classmethod
    def load(
        cls,
        weights: Path,
        *,
        engines: int | None = None,
        context: int = CONTEXT,
        style: PromptStyle = "completion",
    ) -> LocalBackend:
        """Prepare a model.

        Args:
            weights: The GGUF file.
            engines: Copies that work side by side; one for each core by default.
            context: Tokens a prompt and its answer may have.
            style: Which form of request it reads.

        Raises:
            MissingDependencyError: If the runner is not installed.
        """
        runner = _runner()
        return cls(
            weights,
            lambda: _start(runner, weights, context),
            engines or usable_cores(),
            style=style,
        )

    @property
    def concurrency(self) -> int:
        """How many requests to keep in flight."""
        return AHEAD * self._count

    def describe(self) -> dict[str, Any]:
        """Settings for the provenance."""
        return {
            "backend": self.name,
            "llm": True,
            "weights": self.weights.name,
            "engines": self._count,
        }

    async def answer(self, request: Request) -> Answer:
        """Make one attempt; see `base.Backend`.

        Raises:
            DamagedError: If the weights cannot be loaded.
            BadAnswerError: If the runner refuses the request.
        """
        async with self._loading:
            while len(self._engines) < self._count:
                self._engines.append(_Engine(await asyncio.to_thread(self._start)))
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._assign()
        return await waiting.result

    async def aclose(self) -> None:
        """Wait for what an engine is writing, and let the models go."""
        self._waiting.clear()
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        self._engines.clear()

    def _assign(self) -> None:
        """Give every idle engine the waiting request that suits it best."""
        for engine in self._engines:
            while not engine.busy and self._waiting:
                waiting = max(self._waiting, key=lambda one: self._fit(engine, one.request))
                self._waiting.remove(waiting)
                if not waiting.result.cancelled():
                    self._work(engine, waiting)

    def _fit(self, engine: _Engine, request: Request) -> int:
        """What `engine` saves by having read the beginning, beyond what any other would save."""
        prompt = prompt_of(request)
        others = (_common(prompt, other.read) for other in self._engines if other is not engine)
        return _common(prompt, engine.read) - max(others, default=0)

    def _work(self, engine: _Engine, waiting: _Waiting) -> None:
        loop = asyncio.get_running_loop()
        engine.busy = True
        engine.read = prompt_of(waiting.request)
        work = loop.run_in_executor(
            self._threads, _complete, engine.server, waiting.request, self.model
        )

        def done(work: asyncio.Future[Answer]) -> None:
            engine.busy = False
            if not waiting.result.done():
                if work.cancelled():
                    waiting.result.cancel()
                elif (error := work.exception()) is not None:
                    waiting.result.set_exception(error)
                else:
                    waiting.result.set_result(work.result())
            self._assign()

        work.add_done_callback(done)


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prompt_of(request: Request) -> str:
    """The text that a model reads first to last, for comparing beginnings."""
    return request.prompt or "".join(message["content"] for message in request.messages)


def _common(a: str, b: str) -> int:
    """Length of the common beginning."""
    if b.startswith(a) or a.startswith(b):
        return min(len(a), len(b))
    return next(place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)


def _complete(server: Any, request: Request, model: str) -> Answer:
    """Ask one engine; several captions are several continuations of the same prompt."""
    parameters: dict[str, Any] = {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "cache_prompt": True,
    }
    if request.stop:
        parameters["stop"] = list(request.stop)
    if request.is_chat:
        if request.schema is not None:
            parameters["response_format"] = {"type": "json_object", "schema": request.schema}
        parameters |= {"messages": list(request.messages), "seed": request.seed}
        reply = _checked(server.handle_chat_completions(parameters))
        choice = reply["choices"][0]
        return _answer([reply], [(choice["message"]["content"] or "", choice)], model)
    parameters["max_tokens"] = max(1, request.max_tokens // request.count)
    replies = [
        _checked(
            server.handle_completions(
                {**parameters, "prompt": request.prompt, "seed": request.seed + number}
            )
        )
        for number in range(request.count)
    ]
    choices = [reply["choices"][0] for reply in replies]
    return _answer(replies, [(choice["text"], choice) for choice in choices], model)


def _answer(
    replies: list[Mapping[str, Any]], said: list[tuple[str, Mapping[str, Any]]], model: str
) -> Answer:
    text, reason = join_lines([(text, str(choice["finish_reason"])) for text, choice in said])
    return Answer(
        text=text,
        finish_reason=reason,
        prompt_tokens=sum(reply["usage"]["prompt_tokens"] for reply in replies),
        completion_tokens=sum(reply["usage"]["completion_tokens"] for reply in replies),
        model=model,
    )


def _checked(reply: Any) -> Mapping[str, Any]:
    record = json.loads(reply) if isinstance(reply, str | bytes) else reply
    if "choices" not in record:
        error = record.get("error", record)
        message = error.get("message", error) if isinstance(error, Mapping) else error
        raise BadAnswerError("the local model refuses the request", found=message)
    return record


def _runner() -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise MissingDependencyError(
            "--backend local needs the package xllamacpp",
            hint="Install it: pip install 'lqtse[local]', and the small model: make models",
        ) from error
    return xllamacpp


def _start(runner: Any, weights: Path, context: int) -> Any:
    settings = runner.CommonParams()
    settings.model.path = str(weights)
    settings.n_ctx = context
    settings.n_parallel = 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.n_threads_http = 1
    settings.cache_ram_mib = 0  # what an engine has read stays in its sequence; no copies
    settings.warmup = False
    settings.ui = settings.endpoint_slots = False
    # Its HTTP side cannot be turned off; nobody else on this machine shall use it.
    settings.api_keys = [secrets.token_hex(16)]
    settings.offline = True
    settings.verbosity = -1
    try:
        return runner.Server(settings)
    except RuntimeError as error:
        raise DamagedError("cannot load the model", where=weights, found=error) from error
