"""What to expect of a model before it has answered: what we measured, else what we assume.

The share of captions that are kept, and how long answers are. A run of the same plan, or of another
one with the same model and wording, knows better, and is asked first (`evidence`, `experience`).

How long an answer is follows from what is asked for: a list of tags is not a label. So lengths are
told as a multiple of `usual_length`, and the plan's own requests say how many of which there are.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.planning import Range
from prompts.axes import LABEL, LONG, PHRASE, QUERY, SENTENCE, SHORT, TAGS
from prompts.request import Request


@dataclass(frozen=True)
class Prior:
    """What is expected of a model.

    Attributes:
        share: Captions kept, as a share of those asked for.
        length: Tokens of its answers, as a multiple of `usual_length`.
        source: Where it comes from, in words.
        each_core: Answers a second of `--backend local`, on one core; None if not measured.
    """

    share: Range
    length: Range
    source: str
    each_core: Range | None = None


_OURS = "measured by us with this model and wording"
# With SmolLM2-135M (Q4_1) on two cores of an AMD EPYC, 333 answers in 131 s; other work on the
# machine slows it down.
_CORE = Range(1.2, 0.3, 2.0)

# The wording, and how the model's name begins; docs/generate.md tells how it was measured. The
# ranges are wider than chance: another seed, and more captions, of which more are said before.
_MEASURED: dict[tuple[str, str], Prior] = {
    ("completion.v1", "smollm2-135m"): Prior(
        Range(0.91, 0.75, 0.95), Range(1.0, 0.88, 1.12), _OURS, _CORE
    ),
    ("completion.v2", "smollm2-135m"): Prior(
        Range(0.85, 0.7, 0.92), Range(1.0, 0.88, 1.12), _OURS, _CORE
    ),
    ("chat.v1", "smollm2-135m"): Prior(Range(0.037, 0.02, 0.06), Range(1.73, 1.4, 2.1), _OURS),
    ("chat.v2", "smollm2-135m"): Prior(Range(0.052, 0.035, 0.08), Range(1.45, 1.25, 1.75), _OURS),
    ("chat.v2", "scripted"): Prior(Range(0.95, 0.88, 0.98), Range(1.05, 0.85, 1.25), _OURS),
    ("chat.v2", "grammar"): Prior(Range(0.95, 0.88, 0.98), Range.exactly(0.0), _OURS),
    ("chat.v1", "scripted"): Prior(Range(0.85, 0.8, 0.9), Range(1.07, 0.9, 1.25), _OURS),
    ("chat.v1", "grammar"): Prior(Range(0.85, 0.8, 0.9), Range.exactly(0.0), _OURS),
}

# No model of another kind was at hand. In a list that the model only goes on with, answers end at
# the line's end, so they are short whoever writes them.
_LIST = Prior(
    Range(0.85, 0.5, 0.98), Range(1.15, 0.75, 2.2), "assumed: no run of this model is known"
)
_CHAT = Prior(
    Range(0.75, 0.3, 0.97),
    Range(1.0, 0.6, 1.6),
    "assumed: no run of this model is known; answers as long as they are asked for, and a model "
    "that thinks aloud writes far more",
)

# What one answer of a server takes, where nobody has measured it: seconds to its first token, and
# tokens a second from there on. Hosted models and GPUs write 20 to 150 tokens a second for one
# request among others; llama.cpp on a busy core was seen at one. Assumed, and said so.
_FIRST_TOKEN = Range(0.6, 0.2, 3.0)
_A_SECOND = Range(60.0, 1.0, 150.0)

# Tokens of {"captions": ["...", ...]}, fitted to 600 answers of 1 to 8 captions with eight
# tokenizers: fixed, a caption, a word. Off by 12 % for a single answer (root mean square).
_FIXED, _EACH, _WORD = 5.0, 3.3, 1.13
# Tokens that SmolLM2-135M adds to a list, 800 answers; in sentences and phrases the first words are
# the prompt's.
_ADDED = {LABEL: 4.3, TAGS: 7.7, PHRASE: 4.9, SENTENCE: 5.9, QUERY: 6.4}


def prior(template: str, model: str, *, chat: bool) -> Prior:
    """What to expect of `model` with the wording `template`.

    Args:
        template: The name of the template.
        model: The model's name; its path and case do not count.
        chat: Whether the template makes chat messages.
    """
    name = model.lower().rpartition("/")[2]
    for (wording, begins), measured in _MEASURED.items():
        if wording == template and name.startswith(begins):
            return measured
    return _CHAT if chat else _LIST


def assumed_latency(length: Range) -> Range:
    """Seconds from a request to a server to the end of its answer, where none was seen.

    Args:
        length: Tokens of an answer.
    """
    slow, usual, fast = _A_SECOND.low, _A_SECOND.expected, _A_SECOND.high
    writing = Range(length.expected / usual, length.low / fast, length.high / slow)
    return _FIRST_TOKEN + writing


def usual_length(request: Request) -> float:
    """Tokens of an answer that is just what a request asks for."""
    if not request.is_chat:
        return request.count * _ADDED.get(request.register, _ADDED[PHRASE])
    asked = request.variants or (request.axes,)
    words = sum(_words(request.register, one.get("length", "")) for one in asked) / len(asked)
    return _FIXED + request.count * (_EACH + _WORD * words)


def _words(register: str, length: str) -> float:
    """The middle of what the wording asks for."""
    if register == LABEL:
        return 2.5
    if register == TAGS:
        return 6.0 if length == SHORT else 8.0
    return {SHORT: 5.0, LONG: 16.5}.get(length, 10.0)
