"""What a chat template makes of messages, as the servers do it: Jinja2 in a sandbox.

Templates come with a model and are code of its makers, so they run without any access to objects,
and one that fails is simply not used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

Messages = Sequence[Mapping[str, str]]

# Where no template is known: what ChatML and OpenAI's own format put around each message, and what
# begins the answer, in tokens.
AROUND_MESSAGE = 4
BEFORE_ANSWER = 3


def compile_template(source: str, **special: str) -> Callable[[Messages], str] | None:
    """Return the function that renders messages up to where the answer begins.

    Args:
        source: The Jinja2 text of the template.
        special: Tokens by name (`bos_token`, `eos_token`) that templates may use.

    Returns:
        None if it is no template.
    """
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals |= {"raise_exception": _refuse, "strftime_now": _any_date}
    try:
        template = environment.from_string(source)
    except TemplateError:
        return None

    def render(messages: Messages) -> str:
        return template.render(messages=list(messages), add_generation_prompt=True, **special)

    return render


def _refuse(message: object) -> Any:
    raise TemplateError(str(message))


def _any_date(form: str) -> str:
    # Which day it is does not change how many tokens a date has.
    from datetime import date

    return date(2026, 1, 28).strftime(form)
