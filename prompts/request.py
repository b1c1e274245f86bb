"""One request to a language model, and its name.

A request is a value: what is sent, how it is sampled, and what was asked for, so that an answer can
be judged without the plan it came from. Its id hashes all that shapes the answer and nothing else,
so an answer that was paid for is found again whenever the same thing is asked.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

_ID_SCHEME = "lqtse.request.1"
_ID_HEX = 32  # 128 bits: a collision among 10^12 requests has a chance below 10^-14
_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
_SEED_BITS = 31  # what every known server takes as a seed


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        index: Position in the plan, from 0.
        id: 32 hex characters; see `request_id`.
        messages: Chat messages (`role`, `content`); empty for a completion request.
        prompt: The text to continue; "" for a chat request.
        concepts: Names of the sounds asked for, the main one first.
        axes: Values on the axes of diversity that the request names.
        seed: Sampling seed, 31 bits.
        max_tokens: Most tokens that the answer may have.
        temperature: Sampling temperature.
        top_p: Nucleus sampling threshold.
        schema: JSON schema of the answer, None where the answer is plain lines.
        count: How many captions are asked for.
        model: Name of the model, as the server knows it.
        stop: Texts that end the answer.
        aliases: For each concept, other words that name it.
        examples: The example captions that the request shows.
        start: The beginning of the first caption, where the prompt of a completion gives it.
        variants: What each caption is asked to tell besides, by its place in the answer; () where
            all are asked for the same.
    """

    index: int
    id: str
    messages: tuple[dict[str, str], ...]
    prompt: str
    concepts: tuple[str, ...]
    axes: dict[str, str]
    seed: int
    max_tokens: int
    temperature: float
    top_p: float
    schema: dict[str, Any] | None
    count: int
    model: str
    stop: tuple[str, ...] = ()
    aliases: tuple[tuple[str, ...], ...] = ()
    examples: tuple[str, ...] = ()
    start: str = ""
    variants: tuple[dict[str, str], ...] = ()

    @property
    def register(self) -> str:
        """The register asked for, "" when the request names none."""
        return self.axes.get("register", "")

    def axes_of(self, place: int) -> dict[str, str]:
        """The values on the axes that the caption at this place of the answer was asked for."""
        return {**self.axes, **self.variants[place]} if place < len(self.variants) else self.axes

    @property
    def is_chat(self) -> bool:
        """Whether this goes to a chat endpoint (else to a completion endpoint)."""
        return bool(self.messages)


def digest(value: object) -> str:
    """sha256 (hex) of a value's canonical JSON: sorted keys, no spaces, UTF-8."""
    return hashlib.sha256(_CANONICAL.encode(value).encode("utf-8", "surrogatepass")).hexdigest()


def request_id(shape: dict[str, object]) -> str:
    """The id of a request: a hash of everything that shapes its answer.

    Args:
        shape: Messages, prompt, model, sampling parameters, schema, occurrence and seed.
    """
    return digest([_ID_SCHEME, shape])[:_ID_HEX]


def derived_seed(seed: int, asked: str, occurrence: int) -> int:
    """The sampling seed of one request, in [0, 2^31).

    Args:
        seed: Seed of the plan.
        asked: `digest` of messages and prompt.
        occurrence: Which asking of this prompt it is.
    """
    return int(digest([seed, asked, occurrence])[:16], 16) >> (64 - _SEED_BITS)
