"""The backend `grammar`: captions from a grammar over concepts and axes, without any model.

For machines with no language model and no network. It says what it is wherever it is named: the
captions are well formed and cover the bank, and they are as varied as their grammar, no more.
"""

from __future__ import annotations

from typing import Any

from pipeline.llm.base import Answer, PromptStyle
from prompts.request import Request


class GrammarBackend:
    """Answers every request from `prompts.grammar`, at once."""

    name = "grammar"
    model = "grammar"
    style: PromptStyle = "chat"
    uses_llm = False
    offline = True

    async def answer(self, request: Request) -> Answer:
        """Return captions for `request`; the same ones each time."""
        from prompts import grammar

        return Answer(grammar.answer(request), "stop", 0, 0, self.model)

    def describe(self) -> dict[str, Any]:
        """Settings for the provenance."""
        return {"backend": self.name, "llm": False}

    async def aclose(self) -> None:
        """Nothing to give back."""
