"""A module `vllm` for machines without it: what `vllm_api` uses of the real one, and no more.

Names, parameters and the shape of an answer are vLLM's (0.10 to 0.32); `test_vllm_api.py` holds
them against the real package where it is installed (`make test-vllm`). The model repeats what it
reads: a chat answer follows its schema, a completion continues a list with its last word.
"""

from __future__ import annotations

import asyncio
import importlib.machinery
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

CHUNK = 16  # tokens of a block of the prefix cache


class RequestOutputKind(Enum):
    """How an answer comes."""

    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


@dataclass
class StructuredOutputsParams:
    """What holds an answer to a form."""

    json: dict[str, Any] | None = None


@dataclass
class GuidedDecodingParams:
    """The same under its older name."""

    json: dict[str, Any] | None = None


@dataclass
class SamplingParams:
    """How an answer is sampled."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: list[str] | None = None
    max_tokens: int | None = 16
    structured_outputs: StructuredOutputsParams | None = None
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE


@dataclass
class OldSamplingParams:
    """The same before vLLM 0.11."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: list[str] | None = None
    max_tokens: int | None = 16
    guided_decoding: GuidedDecodingParams | None = None
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE


@dataclass
class AsyncEngineArgs:
    """What an engine is started with."""

    model: str
    max_model_len: int | None = None
    gpu_memory_utilization: float = 0.9
    tensor_parallel_size: int = 1
    enforce_eager: bool = False
    enable_prefix_caching: bool | None = None
    disable_log_stats: bool = False

    own_limit = 8192

    def create_model_config(self) -> SimpleNamespace:
        """The model's settings, its own limit among them."""
        return SimpleNamespace(max_model_len=self.max_model_len or self.own_limit)


class Tokenizer:
    """One token a character."""

    def __init__(self, chat_template: str | None) -> None:
        self.chat_template = chat_template

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The tokens of a text."""
        return [0] * add_special_tokens + [ord(letter) for letter in text]

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, **given: Any
    ) -> list[int]:
        """The tokens of a chat."""
        assert tokenize and given["return_dict"] is False and given["add_generation_prompt"]
        if self.chat_template is None:
            raise ValueError("Cannot use chat template functions because none is set")
        if self.chat_template == "no system":
            raise RuntimeError("TemplateError: System role not supported")
        return self.encode("\n".join(message["content"] for message in conversation), False)


class VLLMClientError(Exception):
    """A request that is never taken."""


@dataclass
class Engine:
    """An engine, and what was done with it.

    Attributes:
        arguments: What it was started with.
        asked: Prompt, parameters and number of every request, in order of arrival.
        aborted: Numbers of the requests that were given up.
        most_at_once: The most requests that it had at a time.
        script: What to do instead of answering the n-th request: an error, or a finish reason.
    """

    arguments: AsyncEngineArgs
    chat_template: str | None = "plain"
    seconds: float = 0.0
    script: Callable[[int], BaseException | str | None] = lambda _: None
    asked: list[tuple[str, SamplingParams, str]] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    most_at_once: int = 0
    errored: bool = False
    shut_down: int = 0

    def __post_init__(self) -> None:
        self._running = 0
        self._read: set[str] = set()

    def get_tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        return Tokenizer(self.chat_template)

    def shutdown(self, timeout: float | None = None) -> None:
        """End it."""
        self.shut_down += 1

    async def generate(
        self, prompt: dict[str, Any], sampling_params: SamplingParams, request_id: str
    ) -> AsyncIterator[SimpleNamespace]:
        """Answer one request; only the last output is wanted, so there is one."""
        tokens = prompt["prompt_token_ids"]
        text = "".join(map(chr, tokens)).removeprefix("\0")
        number = len(self.asked)
        self.asked.append((text, sampling_params, request_id))
        assert sampling_params.output_kind is RequestOutputKind.FINAL_ONLY
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            await asyncio.sleep(self.seconds)
            doing = self.script(number)
            if isinstance(doing, BaseException):
                self.errored = self.errored or isinstance(doing, EngineDeadError)
                raise doing
            yield self._output(text, tokens, sampling_params, doing)
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted.append(request_id)
            raise
        finally:
            self._running -= 1

    def _output(
        self, text: str, tokens: list[int], params: SamplingParams, reason: str | None
    ) -> SimpleNamespace:
        held = getattr(params, "structured_outputs", None) or getattr(
            params, "guided_decoding", None
        )
        said = _held(held.json) if held is not None else f" {text.rpartition(':')[0].split()[-1]}"
        limit = params.max_tokens or len(said)
        blocks = [text[:end] for end in range(CHUNK, len(text) + 1, CHUNK)]
        cached = sum(block in self._read for block in blocks)
        self._read.update(blocks)
        return SimpleNamespace(
            prompt_token_ids=tokens,
            num_cached_tokens=CHUNK * cached,
            outputs=[
                SimpleNamespace(
                    text=said[:limit],
                    token_ids=list(range(len(said[:limit]))),
                    finish_reason=reason or ("length" if len(said) > limit else "stop"),
                )
                for _ in range(params.n)
            ],
        )


class EngineDeadError(Exception):
    """The engine has ended."""


def _held(schema: dict[str, Any]) -> str:
    items = schema["properties"]["captions"]
    words = items["items"].get("enum", ["a dog barks"])
    return json.dumps({"captions": [words[0]] * items.get("maxItems", 1)})


def install(
    monkeypatch: pytest.MonkeyPatch,
    start: Callable[[AsyncEngineArgs], Engine] = Engine,
    *,
    old: bool = False,
    cpu: bool = False,
) -> None:
    """Put the module in the place of the real one.

    Args:
        monkeypatch: Takes it out again.
        start: Makes an engine of its arguments.
        old: As it was before vLLM 0.11.
        cpu: The build for CPUs.
    """
    parts: dict[str, dict[str, Any]] = {
        "vllm": {
            "AsyncEngineArgs": AsyncEngineArgs,
            "AsyncLLMEngine": SimpleNamespace(from_engine_args=start),
            "SamplingParams": OldSamplingParams if old else SamplingParams,
        },
        "vllm.sampling_params": {"RequestOutputKind": RequestOutputKind},
        "vllm.inputs": {},
        "vllm.platforms": {"current_platform": SimpleNamespace(is_cpu=lambda: cpu)},
    }
    if old:
        parts["vllm.sampling_params"]["GuidedDecodingParams"] = GuidedDecodingParams
    else:
        parts["vllm.sampling_params"]["StructuredOutputsParams"] = StructuredOutputsParams
        parts["vllm.inputs"]["tokens_input"] = lambda tokens: {
            "type": "token",
            "prompt_token_ids": tokens,
        }
        parts["vllm.exceptions"] = {"VLLMClientError": VLLMClientError}
    for name, members in parts.items():
        module = ModuleType(name)
        module.__dict__.update(members)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    for name in parts:
        if "." in name:
            setattr(sys.modules["vllm"], name.partition(".")[2], sys.modules[name])
