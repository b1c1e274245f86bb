"""The versioned templates: what exactly is sent for a combination of sounds and axes.

A template is a pair of Jinja2 files (`templates/<name>.system.j2`, `<name>.user.j2`) for chat, or
one file (`<name>.j2`) for completion. A changed wording is a new version: the files of a published
version stay as they are, since their text is part of every request's id.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import jinja2

from prompts.errors import PromptError
from prompts.examples import Example
from prompts.lexicon import data_text


@dataclass(frozen=True)
class Brief:
    """What one request asks for, before it is put into words.

    Attributes:
        concepts: Names of the sounds, the main one first.
        axes: Values on the axes of diversity.
        count: How many captions.
        examples: What to show.
        hint: A word for how the main sound is made ("barks"), "" if none is known.
        start: The beginning of the first caption ("a dog"), "" to leave it open.
        details: Words for where and how, as the key of a list gives them.
        variants: What each caption tells that the others need not; one for each, or none.
    """

    concepts: tuple[str, ...]
    axes: dict[str, str]
    count: int
    examples: tuple[Example, ...]
    hint: str = ""
    start: str = ""
    details: tuple[str, ...] = ()
    variants: tuple[dict[str, str], ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """What stands before the caption in a list: sounds, how the main one is made, details."""
        return (*self.concepts, *filter(None, (self.hint,)), *self.details)


@dataclass(frozen=True)
class Template:
    """One version of the wording.

    Attributes:
        name: "chat.v1", say.
        parts: Roles and files; one part with the role "" is a completion template.
        per_request: Captions asked for in one request, unless the plan says otherwise.
        examples: How many example captions are shown.
        block: This many consecutive requests share register, number of sources and examples, so
            that a server computes their common beginning once.
        max_sources: Most sources of one caption that models of this kind cope with.
        tokens_per_caption: Upper bound of the tokens of one caption and its wrapping.
        stop: Texts that end the answer.
        temperature: The sampling temperature that suits it, unless the user names one.
        details: Whether the key of a list tells where and how, too.
        variants: Whether each caption of a request is asked for something else.
    """

    name: str
    parts: tuple[tuple[str, str], ...]
    per_request: int
    examples: int
    block: int
    max_sources: int
    tokens_per_caption: int
    stop: tuple[str, ...]
    temperature: float = 0.8
    details: bool = False
    variants: bool = False

    @property
    def is_chat(self) -> bool:
        """Whether this makes chat messages (else a text to continue)."""
        return self.parts[0][0] != ""

    @property
    def style(self) -> str:
        """Which models read it: "chat" or "completion"."""
        return "chat" if self.is_chat else "completion"

    def render(self, brief: Brief) -> tuple[tuple[dict[str, str], ...], str]:
        """Put a brief into words: chat messages and "", or no messages and a prompt."""
        texts = [(role, _rendered(name, brief)) for role, name in self.parts]
        if not self.is_chat:
            return (), texts[0][1]
        return tuple({"role": role, "content": text.strip()} for role, text in texts), ""

    @property
    def hash(self) -> str:
        """Hash (32 hex) of the wording and of the example pool."""
        total = hashlib.sha256(self.name.encode())
        for _, name in self.parts:
            total.update(_source(name).encode())
        total.update(data_text("examples.txt").encode())
        return total.hexdigest()[:32]


TEMPLATES = {
    template.name: template
    for template in (
        Template(
            name="chat.v1",
            parts=(("system", "chat.v1.system.j2"), ("user", "chat.v1.user.j2")),
            per_request=5,
            examples=4,
            block=1,
            max_sources=4,
            tokens_per_caption=48,
            stop=(),
        ),
        # Captions of one brief echo each other; here each has a brief of its own.
        Template(
            name="chat.v2",
            parts=(("system", "chat.v1.system.j2"), ("user", "chat.v2.user.j2")),
            per_request=5,
            examples=4,
            block=1,
            max_sources=4,
            tokens_per_caption=48,
            stop=(),
            variants=True,
        ),
        Template(
            name="completion.v1",
            parts=(("", "completion.v1.j2"),),
            per_request=1,
            examples=14,
            block=16,
            max_sources=1,
            tokens_per_caption=32,
            stop=("\n",),
        ),
        Template(
            name="completion.v2",
            parts=(("", "completion.v2.j2"),),
            per_request=1,
            examples=14,
            block=16,
            max_sources=1,
            tokens_per_caption=32,
            stop=("\n",),
            # A small model told where and how by the key needs no hot sampler to be varied; at 0.8
            # it goes on with places and things that make no sense.
            temperature=0.5,
            details=True,
        ),
    )
}


def find_template(name: str) -> Template:
    """The template of that name.

    Raises:
        PromptError: If there is none.
    """
    if name not in TEMPLATES:
        raise PromptError(f"template must be one of {', '.join(TEMPLATES)}, got {name!r}")
    return TEMPLATES[name]


def _source(name: str) -> str:
    return files("prompts").joinpath("templates", name).read_text(encoding="utf-8")


def _rendered(name: str, brief: Brief) -> str:
    fixed = _fixed(name)
    return _compiled(name).render(brief=brief) if fixed is None else fixed


@cache
def _fixed(name: str) -> str | None:
    """The text of a part that says the same of every brief, None for one with placeholders."""
    return None if "{" in _source(name) else _compiled(name).render()


@cache
def _compiled(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        autoescape=False,  # plain text for a model, never HTML
    )
    return environment.from_string(_source(name))
