"""How diverse captions are, in numbers: pure functions on their words.

All of them but the evenness fall or rise with the number of captions, so two sets are compared at
the same n, never at their own sizes. Words are runs of `[a-z0-9']` in lower case.

    distinct-n      different n-grams over all n-grams (Li et al. 2016)
    self-BLEU       how much of a caption the others say already (Zhu et al. 2018); less is better
    echo            how alike the captions of one answer are, beside those of other answers

Cost: a pass over the n-grams. Self-BLEU is usually computed caption against caption, n² times; here
the n-grams are counted once for all.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

ORDER = 4  # of self-BLEU: n-grams of up to four words
_FLOOR = 0.1  # matches that are counted for an order in which there is none

_WORD = re.compile(r"[a-z0-9']+")

Words = Sequence[str]


def words(text: str) -> tuple[str, ...]:
    """The words of a text, as they are counted here and in `stats`."""
    return tuple(_WORD.findall(text.lower()))


def ngrams(sentence: Words, n: int) -> Iterator[tuple[str, ...]]:
    """All runs of n words of a sentence, in order."""
    return zip(*(itertools.islice(sentence, start, None) for start in range(n)), strict=False)


def distinct(sentences: Iterable[Words], n: int) -> float:
    """Distinct-n: the share of different n-grams among all n-grams; 0 if there is none.

    From J. Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models",
    2016, here over all captions together.
    """
    counts = Counter(gram for sentence in sentences for gram in ngrams(sentence, n))
    total = sum(counts.values())
    return len(counts) / total if total else 0.0


@dataclass
class _Most:
    """The most often that one sentence has an n-gram, which sentence, and the second most."""

    count: int
    owner: int
    second: int

    def others(self, sentence: int) -> int:
        """The most often that any other sentence has it."""
        return self.second if sentence == self.owner else self.count


def self_bleu(sentences: Sequence[Words], order: int = ORDER) -> float:
    """Self-BLEU: the mean BLEU of each sentence with all others as its references, from 0 to 1.

    BLEU of a sentence of L words is BP · exp(mean of log p_n over n = 1 ... min(order, L)), where
    p_n is the share of its n-grams that some other sentence has, each counted at most as often as
    in the sentence that has it most often, and BP = exp(min(0, 1 − r / L)) with r the length of
    the other sentence nearest in length, the shorter of two (K. Papineni et al. 2002). An order
    without a match counts as 0.1 matches (method 1 of B. Chen and C. Cherry 2014), and without a
    single word in common the BLEU is 0. Self-BLEU is from Y. Zhu et al., "Texygen", 2018.

    Args:
        sentences: The words of each; those without a word are left out.
        order: The longest n-grams.

    Returns:
        0 below two sentences.
    """
    told = [sentence for sentence in sentences if sentence]
    if len(told) < 2:
        return 0.0
    logs = [0.0] * len(told)
    silent = [False] * len(told)
    for n in range(1, order + 1):
        counted = [Counter(ngrams(sentence, n)) for sentence in told]
        most = _most(counted)
        for place, counts in enumerate(counted):
            total = counts.total()
            if not total:
                continue
            matched = sum(min(count, most[gram].others(place)) for gram, count in counts.items())
            silent[place] |= n == 1 and not matched
            logs[place] += math.log((matched or _FLOOR) / total)
    penalty = _penalties(told)
    return math.fsum(
        0.0 if silent[place] else penalty[len(sentence)] * math.exp(log / min(order, len(sentence)))
        for place, (sentence, log) in enumerate(zip(told, logs, strict=True))
    ) / len(told)


def _most(counted: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], _Most]:
    found: dict[tuple[str, ...], _Most] = {}
    for place, counts in enumerate(counted):
        for gram, count in counts.items():
            known = found.get(gram)
            if known is None:
                found[gram] = _Most(count, place, 0)
            elif count > known.count:
                known.count, known.owner, known.second = count, place, known.count
            elif count > known.second:
                known.second = count
    return found


def _penalties(sentences: Sequence[Words]) -> dict[int, float]:
    """The brevity penalty of a sentence by its length."""
    counts = Counter(map(len, sentences))
    lengths = sorted(counts)
    found = {}
    for place, length in enumerate(lengths):
        near = [length] if counts[length] > 1 else lengths[max(place - 1, 0) : place]
        near += [] if counts[length] > 1 else lengths[place + 1 : place + 2]
        nearest = min(near, key=lambda other: (abs(other - length), other))
        found[length] = math.exp(min(0.0, 1 - nearest / length))
    return found


def evenness(counts: Iterable[int]) -> float | None:
    """How evenly captions fall on concepts, from 0 (all on one) to 1 (as many on each).

    Pielou's J: the entropy of the shares over the logarithm of the number of concepts, those
    without a caption included (E. C. Pielou 1966). None below two concepts or without a caption.
    """
    every = list(counts)
    total = sum(every)
    if len(every) < 2 or not total:
        return None
    entropy = math.fsum(count / total * math.log(total / count) for count in every if count)
    return entropy / math.log(len(every))


@dataclass(frozen=True)
class Echo:
    """How alike two captions of the same sound and register are.

    The mean Jaccard similarity of their sets of words: where `within` is well above `across`, a
    model that writes several captions in one answer repeats itself there.

    Attributes:
        within: Of two captions of one answer; None if no answer gave two.
        within_pairs: How many pairs that is the mean of.
        across: Of two captions of different answers; None if there is no such pair.
        across_pairs: How many pairs that is the mean of.
    """

    within: float | None
    within_pairs: int
    across: float | None
    across_pairs: int


def echo(groups: Mapping[object, Sequence[tuple[str, Words]]]) -> Echo:
    """Measure how much answers echo themselves.

    Args:
        groups: For each sound and register, its captions: the request that asked for each, and
            the caption's words. All pairs within a group are compared.
    """
    inside: list[float] = []
    outside: list[float] = []
    for members in groups.values():
        sets = [(request, frozenset(said)) for request, said in members if said]
        for (one, left), (other, right) in itertools.combinations(sets, 2):
            similarity = len(left & right) / len(left | right)
            (inside if one == other else outside).append(similarity)
    return Echo(_mean(inside), len(inside), _mean(outside), len(outside))


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
