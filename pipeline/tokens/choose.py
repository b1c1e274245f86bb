"""Which tokenizer counts for a model: the best that is on this machine, and nothing is fetched."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.tokens.count import TokenCounter, around, gguf_tokenizer, read_tokenizer
from pipeline.tokens.estimate import estimate

if TYPE_CHECKING:
    from pipeline.llm.identity import Identity

# The files that tiktoken keeps: it loads one without the network only if its content is this.
_RANKS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
CONTENT = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
# OpenAI counts the JSON schema of an answer among the tokens read, and does not say how.
_OPENAI_ERROR = 0.15


def choose_counter(identity: Identity, named: Path | None = None) -> TokenCounter:
    """Return what counts the tokens of a model.

    Args:
        identity: The model.
        named: The tokenizer that the user names, None for whatever is at hand.

    Raises:
        UsageError: If the named one cannot be used.
        DamagedError: If a file is damaged.
    """
    if named is not None:
        return read_tokenizer(named)
    if identity.backend == "scripted":
        return _scripted()
    found: TokenCounter | None = None
    if identity.weights is not None and identity.weights.is_dir():
        if (identity.weights / "tokenizer.json").is_file():
            found = read_tokenizer(identity.weights)
    elif identity.weights is not None:
        found = gguf_tokenizer(identity.weights)
    else:
        found = tiktoken_counter(identity.model)
    return found or estimate()


def tiktoken_counter(model: str) -> TokenCounter | None:
    """OpenAI's tokenizer, if tiktoken is installed and has its file; never asks the network."""
    if importlib.util.find_spec("tiktoken") is None:
        return None
    import tiktoken

    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        return None
    ranks = {"o200k_harmony": "o200k_base"}.get(name, name)
    if not _is_cached(ranks):
        return None
    encoding = tiktoken.get_encoding(ranks)

    def text(value: str) -> int:
        return len(encoding.encode(value, disallowed_special=()))

    return TokenCounter(
        f"tiktoken, {ranks}", _OPENAI_ERROR, text, text, lambda messages: around(messages, text)
    )


def _is_cached(ranks: str) -> bool:
    """Whether tiktoken has this file, whole; it would fetch one that is missing or damaged."""
    folder = os.environ.get(
        "TIKTOKEN_CACHE_DIR",
        os.environ.get("DATA_GYM_CACHE_DIR", str(Path(tempfile.gettempdir()) / "data-gym-cache")),
    )
    # tiktoken's own naming of its files, no matter of secrecy.
    name = hashlib.sha1(_RANKS.format(ranks).encode(), usedforsecurity=False).hexdigest()
    file = Path(folder) / name
    if not folder or ranks not in CONTENT or not file.is_file():
        return False
    return hashlib.sha256(file.read_bytes()).hexdigest() == CONTENT[ranks]


def _scripted() -> TokenCounter:
    """The fake's own count: it knows no format around messages."""
    from pipeline.llm.scripted import tokens_of

    return TokenCounter(
        "the fake's own, four characters a token",
        0.0,
        tokens_of,
        tokens_of,
        lambda messages: tokens_of("".join(message["content"] for message in messages)),
    )
