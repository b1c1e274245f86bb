"""vLLM in this process: one engine, and all requests in flight at once.

The engine batches continuously: it is given whatever is asked, up to the concurrency, and takes a
new request into the batch as soon as another ends. Prompts of one template begin alike, and that
beginning is computed once (prefix caching). Chat answers are held to the request's JSON schema;
several captions of a completion are continuations of one prompt. Reasoning is turned off where a
chat template knows how: thinking about a caption costs a hundred times its tokens.

The scheduler and the model run in processes that vLLM starts (`children` sees to their end). The
asynchronous engine is used: the synchronous one would have to be stepped by a thread of ours, in
the same interpreter as the ledger.

The same seed gives the same answer in the same batch. In another one the last bits of a
probability may differ, and so may the answer, unless VLLM_BATCH_INVARIANT=1 is set and the GPU can
do it. A rerun is exact all the same, since answers are the ledger's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from typing import Any

from cache_store.errors import BadAnswerError, LqtseError, RemoteError, UsageError
from pipeline.llm import vllm_api
from pipeline.llm.base import CUT, Answer, AttemptFailed, PromptStyle, join_lines
from pipeline.llm.children import PATIENCE, Children, deaf_to_interrupts
from pipeline.llm.model_folder import can_chat, find_folder, folder_name
from pipeline.llm.vllm_api import EngineSettings
from prompts.request import Request

CONCURRENCY = 256  # requests in flight: what the engine cannot hold yet waits inside it

_LOOK = 0.5  # seconds between looks at the processes of an engine that starts
_MESSAGE_LENGTH = 300  # characters of vLLM's message that an error shows
_ENDED = frozenset({"stop", CUT})

_SMALLER = "a smaller --max-model-len or --concurrency, or another share of it (--gpu-memory)"


class VllmBackend:
    """A model in vLLM's engine.

    Nothing is loaded before the first request: a run that finds its work done takes no time.

    Args:
        settings: What the engine is started with.
        style: Which form of request the model reads; by default chat, and completion for a folder
            whose tokenizer has no chat template.

    Attributes:
        cached_tokens: Prompt tokens so far that the engine had read before, with another prompt.

    Raises:
        MissingDependencyError: If vLLM is not installed.
        UsageError: If the model is not there, or chat was asked of a model without a template.
        DamagedError: If its folder holds no model.
    """

    name = "vllm"
    uses_llm = True
    offline = True

    def __init__(self, settings: EngineSettings, *, style: PromptStyle | None = None) -> None:
        folder = find_folder(settings.model)
        chats = folder is None or can_chat(folder)
        if style == "chat" and not chats:
            raise _no_template(settings.model)
        _check_installed()
        self.model = settings.model if folder is None else folder_name(folder)
        self.style: PromptStyle = style or ("chat" if chats else "completion")
        self.cached_tokens = 0
        self._settings = settings
        self._children: Children | None = None
        self._loading: asyncio.Task[Any] | None = None
        self._tokenizer: Any = None
        self._numbers = itertools.count()
        self._closing = threading.Event()

    def describe(self) -> dict[str, Any]:
        """Settings for the provenance."""
        return {
            "backend": self.name,
            "llm": True,
            "max_model_len": self._settings.max_model_len,
            "tensor_parallel": self._settings.tensor_parallel or 1,
        }

    async def answer(self, request: Request) -> Answer:
        """Make one attempt; see `base.Backend`.

        Raises:
            RemoteError: If the engine cannot be started, or has died.
            BadAnswerError: If it refuses the request.
            UsageError: If a chat is asked of a model without a chat template.
        """
        engine = await self._engine()
        prompt = vllm_api.prompt(self._tokens(request))
        # The same request may be asked again while its first attempt is being given up.
        number = f"{request.id}-{next(self._numbers)}"
        output = None
        try:
            asked = engine.generate(prompt, vllm_api.sampling(request), request_id=number)
            async with contextlib.aclosing(asked) as outputs:
                async for output in outputs:  # noqa: B007 - the last one is whole
                    pass
        except Exception as error:
            raise self._failure(engine, error) from error
        return self._answer(output)

    async def aclose(self) -> None:
        """End the engine and its processes, also one that is still starting."""
        loading, self._loading = self._loading, None
        children, self._children = self._children, None
        if loading is None or children is None:
            return
        self._closing.set()
        while not loading.done():
            # It cannot be called back from its thread; without its processes it gives up.
            await asyncio.to_thread(children.end)
            await asyncio.wait({loading}, timeout=_LOOK)
        if not loading.cancelled() and loading.exception() is None:
            await asyncio.to_thread(vllm_api.stop, loading.result(), PATIENCE)
        await asyncio.to_thread(children.end)
        children.close()

    async def _engine(self) -> Any:
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        # One request that is given up must not take the engine from the others.
        return await asyncio.shield(self._loading)

    async def _load(self) -> Any:
        self._children = children = Children()
        starting = asyncio.create_task(asyncio.to_thread(self._start))
        while not starting.done():
            children.look()
            await asyncio.wait({starting}, timeout=_LOOK)
        children.look()
        engine = starting.result()
        self._tokenizer = await vllm_api.tokenizer(engine)
        return engine

    def _start(self) -> Any:
        try:
            vllm_api.load()
            if self._closing.is_set():
                raise RemoteError("closed before vLLM was started")
            with deaf_to_interrupts():
                return vllm_api.start(self._settings)
        except LqtseError:
            raise
        except Exception as error:
            raise RemoteError(
                "vLLM cannot load the model",
                where=self.model,
                found=_first_line(error),
                hint="What it says above, with VLLM_LOGGING_LEVEL=INFO in the environment too, "
                f"tells more; where memory is short: {_SMALLER}",
            ) from error

    def _tokens(self, request: Request) -> list[int]:
        if not request.is_chat:
            return list(self._tokenizer.encode(request.prompt))
        try:
            # The template writes the special tokens itself.
            return list(
                self._tokenizer.apply_chat_template(
                    list(request.messages),
                    tokenize=True,
                    return_dict=False,
                    add_generation_prompt=True,
                    enable_thinking=False,
                )
            )
        except Exception as error:  # a template is a program, and fails as it likes
            if not getattr(self._tokenizer, "chat_template", None):
                raise _no_template(self.model) from error
            raise BadAnswerError(
                "the model's chat template refuses the request",
                where=self.model,
                found=_first_line(error),
                hint="Try --style completion",
            ) from error

    def _answer(self, output: Any) -> Answer:
        said = output.outputs if output is not None else []
        reasons = {str(one.finish_reason) for one in said}
        if not said or not reasons <= _ENDED:
            raise AttemptFailed(
                "aborted",
                RemoteError(
                    "vLLM gave up the request",
                    where=self.model,
                    found=", ".join(sorted(reasons)) or "no answer",
                    hint="Run the same command again: what was answered is kept",
                ),
            )
        self.cached_tokens += output.num_cached_tokens or 0
        text, reason = join_lines([(one.text, str(one.finish_reason)) for one in said])
        return Answer(
            text=text,
            finish_reason=reason,
            prompt_tokens=len(output.prompt_token_ids),
            completion_tokens=sum(len(one.token_ids) for one in said),
            model=self.model,
        )

    def _failure(self, engine: Any, error: Exception) -> Exception:
        if vllm_api.is_dead(engine):
            return RemoteError(
                "vLLM's engine died",
                where=self.model,
                found=_first_line(error),
                hint="Run the same command again: what was answered is kept. If memory was short: "
                f"{_SMALLER}",
            )
        if vllm_api.refuses(error):
            return BadAnswerError(
                "vLLM refuses the request",
                where=self.model,
                found=_first_line(error),
                hint="If it is too long for the model's context: a larger --max-model-len, or a "
                "smaller --per-request",
            )
        failed = RemoteError(
            "vLLM failed to answer", where=self.model, found=_first_line(error.__cause__ or error)
        )
        return AttemptFailed("engine_error", failed)


def _check_installed() -> None:
    import importlib.util

    if importlib.util.find_spec("vllm") is None:
        vllm_api.load()  # tells what is missing


def _no_template(model: str) -> UsageError:
    return UsageError(
        "this model has no chat template: it is a base model",
        where=model,
        hint="Let it continue a list: --style completion",
    )


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:_MESSAGE_LENGTH]
