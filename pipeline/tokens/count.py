"""How many tokens a request makes a model read, by the model's own tokenizer where it is at hand.

Nothing is fetched: a tokenizer is a file on this machine. It is looked for in this order: the one
that the user names, the one inside the GGUF weights, the one beside a model in a folder, OpenAI's
if tiktoken has it cached. Else tokens are estimated from characters (`estimate`), and said to be.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import DamagedError, UsageError
from pipeline.tokens.chat import AROUND_MESSAGE, BEFORE_ANSWER, Messages, compile_template

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from prompts.request import Request

# With Llama 3's pattern in the place of the model's own, on our prompts, for the vocabularies of
# GPT-2, GPT-4, GPT-4o, Qwen, DeepSeek and Mistral's Tekken: at most 0.06 % more or fewer tokens.
_STAND_IN_ERROR = 0.001
# Without a template: the formats that we know differ by this many tokens a message, and our chat
# prompts have some 250 tokens.
_FORMAT_ERROR = 0.02


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens.

    Attributes:
        name: What counts, for the user: "the tokenizer in FILE".
        error: How far a count may be off, as a share; 0 where it is exact.
        text: Tokens of a text that a model writes.
        prompt: Tokens of a text to be continued, with what is put before it.
        chat: Tokens of messages, with all that the model's chat format puts around them.
    """

    name: str
    error: float
    text: Callable[[str], int]
    prompt: Callable[[str], int]
    chat: Callable[[Messages], int]

    def read(self, request: Request) -> int:
        """Tokens that one attempt of `request` makes a model read."""
        return self.chat(request.messages) if request.is_chat else self.prompt(request.prompt)


def read_tokenizer(path: Path) -> TokenCounter:
    """Read the tokenizer that a user names.

    Args:
        path: A GGUF file, a `tokenizer.json`, or a folder of transformers' with one.

    Raises:
        UsageError: If it is not there, or of a kind that is not known here.
        DamagedError: If it cannot be read.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise UsageError(
            "no such tokenizer",
            where=path,
            hint="Give a tokenizer.json, a folder that has one, or a GGUF file",
        )
    if path.suffix == ".gguf":
        counter = gguf_tokenizer(path)
        if counter is None:
            raise UsageError(
                "the model's tokenizer is of a kind that is not known here",
                where=path,
                hint="Give its tokenizer.json",
            )
        return counter
    return _counter(_load(path), f"the tokenizer {path.name}", None, None)


def gguf_tokenizer(path: Path) -> TokenCounter | None:
    """The tokenizer and chat template inside a GGUF model; None for a kind that is not known here.

    Raises:
        DamagedError: If the file is damaged.
    """
    from pipeline.tokens.gguf import read_metadata
    from pipeline.tokens.vocabulary import read_vocabulary

    metadata = read_metadata(path)
    try:
        vocabulary = read_vocabulary(metadata)
    except Exception as error:  # noqa: BLE001 - `tokenizers` raises bare Exceptions
        raise DamagedError(
            "the model's tokenizer is damaged", where=path, found=error, hint="Download it again"
        ) from None
    if vocabulary is None:
        return None
    tokens = metadata["tokenizer.ggml.tokens"]
    special = {
        f"{name}_token": tokens[place]
        for name in ("bos", "eos")
        if 0 <= (place := metadata.get(f"tokenizer.ggml.{name}_token_id", -1)) < len(tokens)
    }
    return _counter(
        vocabulary.tokenizer,
        f"the tokenizer in {path.name}",
        metadata.get("tokenizer.chat_template"),
        vocabulary.first,
        special=special,
        error=0.0 if vocabulary.exact else _STAND_IN_ERROR,
    )


def _folder(path: Path) -> TokenCounter:
    file = path / "tokenizer.json"
    if not file.is_file():
        raise UsageError(
            "no tokenizer in the folder",
            where=path,
            expected="tokenizer.json",
            hint="transformers writes it: AutoTokenizer.from_pretrained(ID).save_pretrained(DIR)",
        )
    config = _json(path / "tokenizer_config.json")
    template = config.get("chat_template")
    if isinstance(template, list):  # several, by name
        named = {str(one.get("name")): one.get("template") for one in template}
        template = named.get("default")
    if (separate := path / "chat_template.jinja").is_file():
        template = separate.read_text(encoding="utf-8")
    special = {
        name: str(value["content"] if isinstance(value, dict) else value)
        for name, value in config.items()
        if name in ("bos_token", "eos_token") and value
    }
    return _counter(_load(file), f"the tokenizer in {path}", template, None, special=special)


def _counter(
    tokenizer: Tokenizer,
    name: str,
    template: str | None,
    first: str | None,
    *,
    special: dict[str, str] | None = None,
    error: float = 0.0,
) -> TokenCounter:
    """Count with a tokenizer.

    Args:
        tokenizer: What splits a text.
        name: What to call it.
        template: The chat template, None if none is known.
        first: What stands before every text; None where the tokenizer itself knows.
        special: Tokens that a template may name.
        error: How far a count may be off.
    """
    render = compile_template(template, **(special or {})) if template else None

    def text(value: str) -> int:
        return len(tokenizer.encode(value, add_special_tokens=False).ids)

    def prompt(value: str) -> int:
        if first is None:
            return len(tokenizer.encode(value, add_special_tokens=True).ids)
        # A template may say it itself; servers do not put it there twice.
        return text(value) + bool(first and not value.startswith(first))

    def chat(messages: Messages) -> int:
        if render is None:
            return around(messages, text)
        rendered = render(messages)
        return text(rendered) if first is None else prompt(rendered)

    if render is not None and not _renders(render):
        render = None
    if render is None:
        return TokenCounter(
            f"{name}, its chat format estimated", max(error, _FORMAT_ERROR), text, prompt, chat
        )
    return TokenCounter(name, error, text, prompt, chat)


def around(messages: Messages, text: Callable[[str], int]) -> int:
    """Tokens of messages in a chat format that is not known."""
    return sum(text(message["content"]) + AROUND_MESSAGE for message in messages) + BEFORE_ANSWER


def _renders(render: Callable[[Messages], str]) -> bool:
    """Whether a template takes what we send: some refuse system messages, others do not run."""
    sample = ({"role": "system", "content": "a"}, {"role": "user", "content": "b"})
    try:
        return isinstance(render(sample), str)
    except Exception:  # noqa: BLE001 - a template may raise anything
        return False


def _load(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - `tokenizers` raises bare Exceptions
        raise DamagedError(
            "not a tokenizer", where=path, expected="a tokenizer.json", found=error
        ) from None


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedError("not JSON", where=path, found=error) from None
    return record if isinstance(record, dict) else {}
