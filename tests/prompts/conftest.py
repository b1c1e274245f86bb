"""Requests to judge answers against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from prompts.plan import Plan
from prompts.request import Request

RequestMaker = Callable[..., Request]


@pytest.fixture(scope="session")
def chat_request() -> Request:
    """A request for JSON; what it asks for is replaced by the tests."""
    return Plan().request(0)


@pytest.fixture(scope="session")
def make_request(chat_request: Request) -> RequestMaker:
    """Make a request: `make_request("dog", register="label", mode="lines")`."""

    def make(
        *concepts: str,
        register: str = "sentence",
        mode: str = "json",
        aliases: tuple[tuple[str, ...], ...] = (),
        examples: tuple[str, ...] = (),
        count: int = 5,
        start: str = "",
    ) -> Request:
        modes: dict[str, dict[str, Any]] = {
            "json": {},
            "lines": {"schema": None},
            "completion": {"schema": None, "messages": (), "prompt": f"{', '.join(concepts)}:"},
        }
        return replace(
            chat_request,
            concepts=concepts,
            axes={"register": register},
            aliases=aliases,
            examples=examples,
            count=count,
            start=start,
            **modes[mode],
        )

    return make
