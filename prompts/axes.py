"""The axes of diversity: what may differ between two captions of the same sound.

Variety comes from asking for different things, not from a hot sampler, so every request names
values on these axes. Most of them stay unsaid most of the time, as in what people write. A
combination is drawn in the order register, sources, relation, place, ..., each one weighted, and
later axes look at earlier ones: a bare label has one source and no manner.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from prompts.errors import PromptError
from prompts.lexicon import Concept, places

UNSAID = ""  # the value of an axis that a request leaves open

LABEL, TAGS, PHRASE, SENTENCE, QUERY = "label", "tags", "phrase", "sentence", "query"
REGISTERS = (LABEL, TAGS, PHRASE, SENTENCE, QUERY)
SHORT, MEDIUM, LONG = "short", "medium", "long"
ALONE, TOGETHER, SEQUENCE, BACKGROUND = (
    "alone",
    "at the same time",
    "one after the other",
    "in the background",
)

MAX_SOURCES = 4


@dataclass(frozen=True)
class Axis:
    """A weighted choice.

    Args:
        name: Key in the axes of a request.
        values: What can be drawn; "" leaves the axis open.
        weights: One a value, not all zero; need not add up to one.

    Raises:
        PromptError: If there is no value, a weight is missing or negative, or all are zero.
    """

    name: str
    values: tuple[str, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values or len(self.values) != len(self.weights):
            raise PromptError(
                f"axis {self.name!r} must have a weight for each value, got "
                f"{len(self.values)} values and {len(self.weights)} weights"
            )
        if not (min(self.weights) >= 0 and 0 < sum(self.weights) < float("inf")):
            raise PromptError(
                f"weights of axis {self.name!r} must be >= 0 and not all zero, got {self.weights}"
            )

    def draw(self, rng: np.random.Generator) -> str:
        """One value; takes exactly one number from `rng`, so axes do not disturb one another."""
        return self.at(rng.random())

    def at(self, number: float) -> str:
        """The value that a number in [0, 1) draws."""
        last = len(self.values) - 1
        return self.values[bisect_right(self._edges, number * self._edges[-1], hi=last)]

    @cached_property
    def _edges(self) -> tuple[float, ...]:
        return tuple(accumulate(self.weights))


def _weighted(name: str, table: Mapping[str, float]) -> Axis:
    return Axis(name, tuple(table), tuple(table.values()))


def _mostly_unsaid(name: str, share: float, values: tuple[str, ...]) -> Axis:
    """An axis that is named in `share` of the requests, then evenly."""
    each = share / len(values)
    return Axis(name, (UNSAID, *values), (1 - share, *(each for _ in values)))


# Our own defaults.
_REGISTER = _weighted(
    "register", {LABEL: 0.15, TAGS: 0.12, PHRASE: 0.28, SENTENCE: 0.33, QUERY: 0.12}
)
_SOURCES = _weighted("sources", {"1": 0.55, "2": 0.28, "3": 0.12, "4": 0.05})
_RELATION = _weighted("relation", {TOGETHER: 0.4, SEQUENCE: 0.25, BACKGROUND: 0.35})
_DISTANCE = _mostly_unsaid(
    "distance",
    0.3,
    ("very close", "close by", "in the distance", "far away", "in the next room", "passing by"),
)
_LOUDNESS = _mostly_unsaid(
    "loudness", 0.3, ("loud", "very loud", "soft", "faint", "muffled", "growing louder")
)
_MANNER = _mostly_unsaid(
    "manner",
    0.45,
    (
        "steadily",
        "suddenly",
        "slowly",
        "quickly",
        "rhythmically",
        "in short bursts",
        "again and again",
        "briefly",
        "on and off",
        "faster and faster",
        "once",
        "without pause",
    ),
)
_MATERIAL = _mostly_unsaid(
    "material",
    0.6,
    (
        "on wood",
        "on metal",
        "on glass",
        "on stone",
        "on concrete",
        "on plastic",
        "on gravel",
        "on dry leaves",
        "on tiles",
    ),
)
_LENGTH = _weighted("length", {SHORT: 0.4, MEDIUM: 0.4, LONG: 0.2})


@dataclass(frozen=True)
class Axes:
    """All axes with their weights. Replace one to steer what is asked for."""

    register: Axis = _REGISTER
    sources: Axis = _SOURCES
    relation: Axis = _RELATION
    place_share: float = 0.4
    distance: Axis = _DISTANCE
    loudness: Axis = _LOUDNESS
    manner: Axis = _MANNER
    material: Axis = _MATERIAL
    length: Axis = _LENGTH

    def sample(
        self,
        rng: np.random.Generator,
        main: Concept | None = None,
        *,
        max_sources: int = MAX_SOURCES,
        fixed: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Draw one combination.

        Args:
            rng: Where the numbers come from; always the same count of them is taken.
            main: The main sound; decides which places and whether a material can be named.
            max_sources: Most sources that a caption may have here.
            fixed: Values of axes that are decided already.

        Returns:
            Names and values of the axes that are said, in a fixed order. `register`, `sources`,
            `relation` and `length` are always there.
        """
        drawn = self._drawn()
        numbers = rng.random(len(drawn)).tolist()  # those that as many calls of `Axis.draw` take
        draws = {axis.name: axis.at(number) for axis, number in zip(drawn, numbers, strict=True)}
        draws["place"] = self._place(rng, main)
        draws |= fixed or {}
        register = draws["register"]
        most = min({LABEL: 1, QUERY: 2}.get(register, max_sources), max_sources)
        sources = min(int(draws["sources"]), most)
        chosen = {
            "register": register,
            "sources": str(sources),
            "relation": draws["relation"] if sources > 1 else ALONE,
            "length": SHORT if register == LABEL else draws["length"],
        }
        if register != LABEL:
            chosen |= {name: draws[name] for name in ("place", "distance", "loudness", "manner")}
            if main is not None and main.surface:
                chosen["material"] = draws["material"]
        return {name: value for name, value in chosen.items() if value != UNSAID}

    def _drawn(self) -> tuple[Axis, ...]:
        return (
            self.register,
            self.sources,
            self.relation,
            self.distance,
            self.loudness,
            self.manner,
            self.material,
            self.length,
        )

    def _place(self, rng: np.random.Generator, main: Concept | None) -> str:
        said, which, phrase = rng.random(3)
        codes = main.places if main is not None and main.places else ("anywhere",)
        phrases = places().get(codes[int(which * len(codes))], ())
        if said >= self.place_share or not phrases:
            return UNSAID
        return phrases[int(phrase * len(phrases))]
