"""The plan: which request comes at which position, as a pure function of its settings.

Request i follows from the settings and i alone. Nothing in it knows how many requests there will
be, so a plan can grow, and be worked on in any order by any number of workers, without changing
what was already paid for. With a chat template, what is asked about a concept at its k-th visit
does not depend on the rest of the bank either, but for the companions of captions with several
sounds: adding concepts keeps most of the answers. Cost: 0.2 to 0.4 ms a request, no memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prompts.axes import PHRASE, SENTENCE, Axes, Axis
from prompts.bank import Concept, ConceptBank
from prompts.details import DETAILED, told
from prompts.errors import PromptError
from prompts.examples import draw_examples
from prompts.request import Request, derived_seed, digest, request_id
from prompts.schema import response_schema
from prompts.templating import Brief, Template, find_template
from prompts.words import gerund, third_person

# Purpose numbers in the seed sequences of this module.
_ASK = 2
_BLOCK = 3

_COMMON = ("register", "sources", "relation")  # axes on which all captions of a request agree
_ACTION_SHARE = 0.6  # of captions that are told what the sound does; the rest is the model's

_MAX_PER_REQUEST = 100
_WRAPPING_TOKENS = 24  # braces, key and quotes of the JSON around the captions


@dataclass(frozen=True)
class Sampling:
    """How a model draws its tokens.

    Args:
        temperature: In [0, 2]; our default is mild, since variety comes from the axes.
        top_p: In (0, 1].
        max_tokens: Most tokens of an answer; None lets the template decide by the count.

    Raises:
        PromptError: For a value out of its range.
    """

    temperature: float = 0.8
    top_p: float = 0.95
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 2:
            raise PromptError(f"temperature must be in [0, 2], got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise PromptError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise PromptError(f"max_tokens must be at least 1, got {self.max_tokens}")


@dataclass(frozen=True)
class Plan:
    """An endless deterministic sequence of requests.

    Args:
        bank: The concepts.
        axes: What may differ between captions.
        seed: Not negative.
        model: The model's name, as the server knows it.
        sampling: Temperature and so on.
        template: Name of a template: "chat.v2", say.
        per_request: Captions asked for in one request; None for the template's own number.

    Raises:
        PromptError: For settings that cannot work.
    """

    bank: ConceptBank = field(default_factory=ConceptBank.builtin)
    axes: Axes = field(default_factory=Axes)
    seed: int = 0
    model: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    template: str = "chat.v1"
    per_request: int | None = None

    def __post_init__(self) -> None:
        find_template(self.template)
        if self.seed < 0:
            raise PromptError(f"seed must not be negative, got {self.seed}")
        if not 1 <= self.count <= _MAX_PER_REQUEST:
            raise PromptError(f"per_request must be in [1, {_MAX_PER_REQUEST}], got {self.count}")

    @property
    def count(self) -> int:
        """Captions asked for in one request."""
        own = find_template(self.template).per_request
        return own if self.per_request is None else self.per_request

    @property
    def template_hash(self) -> str:
        """Hash (32 hex) of the template's wording and of the examples it draws from."""
        return find_template(self.template).hash

    def config(self) -> dict[str, Any]:
        """The settings as plain values, for a manifest; equal settings give equal values."""
        return {
            "bank": {"concepts": len(self.bank), "hash": self.bank.hash},
            "axes": digest(_plain_axes(self.axes))[:32],
            "seed": self.seed,
            "model": self.model,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_tokens": self.sampling.max_tokens,
            "template": self.template,
            "template_hash": self.template_hash,
            "per_request": self.count,
        }

    def requests(self, start: int = 0) -> Iterator[Request]:
        """All requests from position `start` on; endless."""
        index = start
        while True:
            yield self.request(index)
            index += 1

    def request(self, index: int) -> Request:
        """The request at a position.

        Args:
            index: From 0.

        Raises:
            PromptError: For a negative index.
        """
        if index < 0:
            raise PromptError(f"index must not be negative, got {index}")
        template = find_template(self.template)
        main, visit = self.bank.visit(self.seed, index)
        brief, concepts = self._brief(template, main, visit, index)
        messages, prompt = template.render(brief)
        schema = response_schema(self.count) if template.is_chat else None
        # The visit tells equal prompts apart: they name the same main concept, so no two of them
        # have the same visit, and no earlier request has to be looked at to know it.
        seed = derived_seed(self.seed, digest([messages, prompt]), visit)
        max_tokens = self.sampling.max_tokens or (
            template.tokens_per_caption * self.count + _WRAPPING_TOKENS * template.is_chat
        )
        shape: dict[str, object] = {
            "messages": messages,
            "prompt": prompt,
            "model": self.model,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_tokens": max_tokens,
            "stop": template.stop,
            "schema": schema,
            "count": self.count,
            "occurrence": visit,
            "seed": seed,
        }
        return Request(
            index=index,
            id=request_id(shape),
            messages=messages,
            prompt=prompt,
            concepts=brief.concepts,
            axes=brief.axes,
            seed=seed,
            max_tokens=max_tokens,
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            schema=schema,
            count=self.count,
            model=self.model,
            stop=template.stop,
            aliases=tuple(concept.synonyms for concept in concepts),
            examples=tuple(example.caption for example in brief.examples),
            start=brief.start,
            variants=brief.variants,
        )

    def _brief(
        self, template: Template, main: Concept, visit: int, index: int
    ) -> tuple[Brief, tuple[Concept, ...]]:
        key = int(hashlib.sha256(main.name.encode()).hexdigest()[:16], 16)
        rng = np.random.default_rng([self.seed, _ASK, key, visit])
        shared, fixed = rng, {}
        if template.block > 1:
            block = index // template.block
            shared = np.random.default_rng([self.seed, _BLOCK, block])
            common = self.axes.sample(shared, max_sources=template.max_sources)
            fixed = {name: common[name] for name in ("register", "sources", "relation", "length")}
        axes = self.axes.sample(rng, main, max_sources=template.max_sources, fixed=fixed)
        drawn = axes
        if not template.is_chat:
            # A list says its register and sources by example, and nothing else.
            axes = {name: axes[name] for name in ("register", "sources", "relation")}
        concepts = (main, *self.bank.companions(main, int(axes["sources"]) - 1, rng))
        axes["sources"] = str(len(concepts))
        names = tuple(concept.name for concept in concepts)
        examples = draw_examples(
            shared,
            template.examples,
            register=axes["register"],
            sources=len(concepts),
            avoid=names,
        )
        hint, start = ("", "") if template.is_chat else _beginning(main, axes["register"], rng)
        details: tuple[str, ...] = ()
        if template.details and axes["register"] in DETAILED:
            said, details = told(drawn, rng)
            axes |= said
        variants: tuple[dict[str, str], ...] = ()
        if template.variants:
            axes = {name: axes[name] for name in _COMMON}
            variants = self._variants(main, axes, rng)
        brief = Brief(names, axes, self.count, examples, hint, start, details, variants)
        return brief, concepts

    def _variants(
        self, main: Concept, common: dict[str, str], rng: np.random.Generator
    ) -> tuple[dict[str, str], ...]:
        """What each caption of a request tells besides what they have in common.

        Verbs are dealt out, so that two captions have the same one only where there are fewer.
        """
        verbs = sorted({verb for _, verb in main.actions})
        deal = rng.permutation(len(verbs)) if verbs else ()
        found = []
        for place in range(self.count):
            own = self.axes.sample(rng, main, fixed=common)
            variant = {name: value for name, value in own.items() if name not in _COMMON}
            if rng.random() < _ACTION_SHARE and verbs:
                variant["action"] = verbs[deal[place % len(verbs)]]
            found.append(variant)
        return tuple(found)


def _beginning(main: Concept, register: str, rng: np.random.Generator) -> tuple[str, str]:
    """How the main sound is made, in one word, and how its caption begins.

    A small model that is left alone with a name explains the thing ("a chainsaw is a tool"); with a
    verb and a subject before its eyes, it goes on with what the thing does.
    """
    if not main.actions:
        return "", ""
    subject, verb = main.actions[int(rng.integers(len(main.actions)))]
    plural = subject.startswith(("+", "two "))
    subject = subject.removeprefix("+")
    if register != SENTENCE:
        return gerund(verb).split(" ")[0], subject if register == PHRASE else ""
    return (verb if plural else third_person(verb)).split(" ")[0], subject


def _plain_axes(axes: Axes) -> dict[str, Any]:
    return {
        name: [value.values, value.weights] if isinstance(value, Axis) else value
        for name, value in vars(axes).items()
    }
