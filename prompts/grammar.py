"""Captions from a grammar."""

from __future__ import annotations

import json

from prompts.request import Request


def answer(request: Request) -> str:
    """The text of an answer to a request, in the format that the request asks for."""
    captions = [f"a {request.concepts[0]} can be heard" for _ in range(request.count)]
    if request.schema is not None:
        return json.dumps({"captions": captions})
    return "\n".join(captions) + "\n"
