"""The client of one server or of several, from plain settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.llm.balance import BalancedBackend
from pipeline.llm.base import PromptStyle
from pipeline.llm.openai_server import KEY_VARIABLE, OpenAIBackend


@dataclass(frozen=True)
class Settings:
    """What a client of servers needs beside the key, which is in OPENAI_API_KEY: plain values.

    Attributes:
        model: Its name, as the servers know it.
        base_urls: Their addresses, one at least.
        style: Which form of request the model reads.
        timeout: Seconds for one answer, None for the default.
        dialects: What is known of the servers, by address, as `describe` told it.
    """

    model: str
    base_urls: Sequence[str]
    style: PromptStyle = "chat"
    timeout: float | None = None
    dialects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def open_servers(settings: Settings) -> OpenAIBackend | BalancedBackend:
    """Make the client.

    Raises:
        AuthenticationError: If a server needs a key and there is none.
        UsageError: If an address is not one.
    """
    backends = [
        OpenAIBackend(
            settings.model,
            base_url=url,
            api_key=os.environ.get(KEY_VARIABLE),
            style=settings.style,
            timeout=settings.timeout,
        )
        for url in dict.fromkeys(settings.base_urls)
    ]
    for backend in backends:
        backend.recall(settings.dialects)
    return backends[0] if len(backends) == 1 else BalancedBackend(backends)
