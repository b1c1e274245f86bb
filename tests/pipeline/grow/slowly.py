"""`python -m tests.pipeline.grow.slowly CACHE AUDIO LOG`: grow with a slow model, to be killed.

Every request that the model is asked is written to LOG, one id a line, before it answers.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pipeline.llm.base import Answer
from pipeline.llm.scripted import ScriptedBackend
from prompts.request import Request
from tests.pipeline.grow.world import grow

CAPTIONS = 60


class Logged(ScriptedBackend):
    """A scripted model that says what it is asked, and takes its time."""

    def __init__(self, log: Path, seconds: float) -> None:
        super().__init__()
        self.log = log
        self.seconds = seconds

    async def answer(self, request: Request) -> Answer:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(request.id + "\n")
        await asyncio.sleep(self.seconds)
        return await super().answer(request)


if __name__ == "__main__":
    cache, audio, log = map(Path, sys.argv[1:])
    grow(cache, audio, Logged(log, 0.4), n=CAPTIONS)
