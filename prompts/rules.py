"""Why a caption is refused: one small rule a reason, tried in the order of `REASONS`.

The rules are strict: a model is cheap to ask again, and a caption that tells no sound spoils every
search that meets it. Measured on captions that people wrote, all reasons but `concept_missing`
together: 0.2 % of the 2,475 of AudioCaps' validation set are refused, and 0.9 % of its 49,838 for
training.

    empty              no letter in it
    too_long           more words than a caption has
    markup             HTML, Markdown, JSON, links, placeholders, emoji, hashtags
    refusal            the model speaks about itself or declines
    wrong_language     another script, or function words of another language
    speech_transcript  what is said instead of how it sounds: quotes, speaker labels, dialogue
    too_short          fewer words than its register needs
    copied_example     an example of its own prompt, or nearly
    truncated          the answer ended inside it, or it ends on a word that wants another
    repetitive         says a word twice in a breath ("cow cow"), or a tag twice
    not_audible        tells what is seen, defines or explains, or names nothing that sounds
    concept_missing    the main concept is not named
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from prompts.audible import is_audible
from prompts.axes import LABEL, QUERY, TAGS
from prompts.naming import names, text_stems
from prompts.repetition import is_repetitive
from prompts.request import Request
from prompts.words import distinct_words, word_set, words

MAX_WORDS = 40  # the longest of 2,475 human captions of AudioCaps has 28
MAX_LABEL_WORDS = 8
MAX_CHARACTERS = 300
_MIN_WORDS = {LABEL: 1, TAGS: 1}
_COPY_WORDS = 4  # shorter captions are only copies when they are equal
_COPY_SHARE = 0.8  # shared words over all words

_ASIDE = r"(?:\w+ly |often |also |usually |commonly )*"

_MARKUP = re.compile(
    r"<[a-z/!][^>]*>|\*\*|__|```|https?:|www\.|&[a-z]+;|&#\d|\\[ntu\"']|[-=]>|(?:^|\s)#\w|"
    r"^#|[{}\[\]<>|\\^~=*_`@$]",
    re.I,
)
_REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial|assistant|language model)\b|\blanguage model\b|"
    r"^(?:i'?m|i am) (?:sorry|unable|not able|afraid|here to)\b|^sorry\b|^i apologi[sz]e|"
    r"\b(?:i|we) (?:can ?not|can't|won't|will not|am unable|do not have|don't have)\b|"
    r"\b(?:cannot|can't|unable to) (?:help|assist|provide|comply|generate|create|fulfil)|"
    r"^(?:sure|certainly|of course|absolutely)\s*[,!.]|^here (?:are|is) (?:\w+ )*"
    r"(?:captions?|examples?|descriptions?|list)\b|^(?:i hope|let me know|feel free)\b",
    re.I,
)
_QUOTED = re.compile(r'"([^"]*)"|(?:^|\s)\'([^\']*\s[^\']*\s[^\']*)\'(?=$|[\s,.])')
_SPEAKER = re.compile(
    r"^(?:the )?(?:man|woman|boy|girl|child|kid|person|speaker|narrator|host|announcer|voice|"
    r"teacher|mother|father|user|assistant|male|female|crowd|[ab]|[A-Z]\w+)(?: ?\d+)?:"
)
_HEARING = re.compile(r"\b(?:you|we|i|one) (?:can |could |may |might |will )?hear\b", re.I)
_DIALOGUE = re.compile(
    r"\b(?:i|i'm|i'll|i've|i'd|my|me|we|we're|we'll|us|our|you|you're|you'll|your)\b|"
    r"^(?:hello|hey|hi|yes|no|okay|oh|thank you|thanks|please|good (?:morning|evening))(?![\w-])|"
    r"^well,",
    re.I,
)
# Not "by", "on", "through", "over": "a car passes by" is whole.
_DANGLING = word_set(
    "a an the and or but of at with from into onto to for as while is are its his their very that "
    "which against between during"
)
_SEEN = re.compile(
    r"\b(?:photo|photograph|picture|image|painting|drawing|illustration|screenshot)s?\b|"
    r"\b(?:can be|is|are) seen\b|\bvisible\b|\b(?:you|we) (?:can )?see\b|"
    r"\blook(?:s|ing)? (?:like|at|up|out|over|down|into|around|beautiful|\w+ly)\b|\bappearance\b|"
    r"\b(?:stares?|staring|gaz(?:es?|ing)|glanc(?:es?|ing)|watch(?:es|ing)|smiles?|smiling)\b|"
    r"\b(?:wearing|wears|dressed in|clad in)\b|\bcolou?r(?:s|ed|ful)?\b|\b(?:hairy|furry|fluffy)\b|"
    r"\b(?:smells?|tastes?|delicious|shiny|bright(?:ly)? lit|sunlight|sunny|sunset|moonlight)\b"
)
_PAINTED = re.compile(
    r"\b(?:red|blue|green|yellow|purple|orange|golden|grey|gray|brown|black|white|pink|dark)"
    r"(?:-\w+)? (?!noise\b|alert\b|light\b|water\b|night\b|room\b)(?:\w+ )?"
    r"(?:dog|cat|car|bird|door|horse|dress|hair|sky|coat|eyes|fur|house|box|ball|truck|flower|"
    r"fish|tree|shirt|cloud|clouds|feathers|wings|wall)s?\b"
)
_EXPLAINS = re.compile(
    rf"\b(?:is|are|was|were) {_ASIDE}(?:used (?:for|to|as|in|by)|known|made (?:of|from|up)|"
    r"considered|called|defined|designed|characteri[sz]ed|associated|referred|intended|found|"
    r"named|believed|said to|one of|part of|important|essential|necessary|popular|famous|"
    r"responsible|composed|invented|located|common|native|based|meant|able to)\b|"
    r"\b(?:refers? to|consists? of|an? (?:type|kind|sort|form|symbol|sign|way|member|"
    r"example) of|such as|for example|testament|metaphor|reminder|symboli[sz]es?|represents?|"
    r"in order to|people who|can (?:cause|lead|also|help)|should|must|need(?:s|ed)? to|"
    r"ha(?:s|ve|d) been|would|did|history|century|invented|purpose|essential|"
    r"device that|instrument that|tool (?:that|used|for)|machine (?:that|used|for))\b"
)
_DEFINES = re.compile(
    rf"^(?:an? |the )?(?:[\w'-]+ ){{1,4}}(?:is|are) {_ASIDE}(?:an?|the) (?!\w+ing\b)"
)
_SOUND_NOUN = re.compile(
    r"(?:is|are) (?:an?|the) (?:\w+ ){0,3}(?:sound|noise|hum|buzz|click|bang|roar|rumble|echo)s?\b"
)
_HAPPENED = re.compile(r"\b(?:was|were|had|said|told|went|came|felt|thought|knew)\b")

_ENGLISH = word_set(
    "a an and are as at by down for from in into is it its of off on out over the then there to "
    "through up while with his her their near outside followed being that this"
)
_FOREIGN = word_set(
    "una unos unas los las el del por que mientras suena ruido sonido con para muy "
    "le les un une dans avec pendant qui est sur du et au aux bruit "
    "der das ein eine einen einem und mit auf während ist den dem im geräusch "
    "il gli della dello che nel suono um uma do dos com enquanto som "
    "het een van aan en naar geluid och med på ett og av w na się dźwięk"
)
_LOANWORDS = word_set("café cafés naïve décor façade piñata crème brûlée entrée jalapeño güiro")


@dataclass(frozen=True)
class _Text:
    """A caption under judgement."""

    raw: str
    request: Request

    @cached_property
    def lower(self) -> str:
        return self.raw.lower()

    @cached_property
    def words(self) -> list[str]:
        return words(self.raw)

    @cached_property
    def stems(self) -> frozenset[str]:
        return text_stems(self.raw)

    @property
    def register(self) -> str:
        return self.request.register


def judge(text: str, request: Request, *, cut: bool = False) -> str | None:
    """The first reason to refuse a caption, None if there is none.

    Args:
        text: One line, cleaned (`unwrap.clean`).
        request: What was asked for.
        cut: Whether the answer is known to have ended inside this caption.
    """
    caption = _Text(text, request)
    if not any(char.isalpha() for char in text):
        return "empty"
    if cut:
        return "truncated"
    return next((reason for reason, applies in _RULES if applies(caption)), None)


def named_concepts(text: str, request: Request) -> tuple[str, ...]:
    """The concepts of the request that a caption names, in the request's order."""
    found = text_stems(text)
    return tuple(
        name
        for i, name in enumerate(request.concepts)
        if names(found, name, request.aliases[i] if i < len(request.aliases) else ())
    )


def _markup(text: _Text) -> bool:
    if _MARKUP.search(text.raw) is not None:
        return True
    return not text.raw.isascii() and any(  # all of ASCII's symbols but "+" are in `_MARKUP`
        unicodedata.category(char) in ("So", "Sk", "Sm") and char not in "+°" for char in text.raw
    )


def _refusal(text: _Text) -> bool:
    return _REFUSAL.search(text.raw) is not None


def _wrong_language(text: _Text) -> bool:
    own = frozenset[str]().union(*map(distinct_words, text.request.concepts))
    foreign = 0
    for word in text.words:
        if word.isascii() or word in own or word in _LOANWORDS:
            continue
        if any(not unicodedata.name(char, "").startswith("LATIN") for char in word if char != "'"):
            return True
        foreign += 1
    foreign += sum(word in _FOREIGN and word not in own for word in text.words)
    english = sum(word in _ENGLISH for word in text.words)
    return foreign > english if foreign < 2 else foreign >= english


def _speech_transcript(text: _Text) -> bool:
    if any(words(said or alone) for said, alone in _QUOTED.findall(text.raw)):
        return True
    if _SPEAKER.match(text.raw):
        return True
    if text.register == QUERY:
        return False
    return "?" in text.raw or _DIALOGUE.search(_HEARING.sub("", text.raw)) is not None


def _too_short(text: _Text) -> bool:
    letters = sum(map(str.isalpha, text.raw))
    return len(text.words) < _MIN_WORDS.get(text.register, 2) or letters < 2


def _too_long(text: _Text) -> bool:
    most = MAX_LABEL_WORDS if text.register == LABEL else MAX_WORDS
    return len(text.words) > most or len(text.raw) > MAX_CHARACTERS


def _copied_example(text: _Text) -> bool:
    own = set(text.words)
    for example in text.request.examples:
        other = distinct_words(example)
        if own == other:
            return True
        long_enough = min(len(own), len(other)) >= _COPY_WORDS
        if long_enough and len(own & other) >= _COPY_SHARE * len(own | other):
            return True
    return False


def _truncated(text: _Text) -> bool:
    if text.raw.endswith((",", "…", "...", "-", "(", "/", "&", ":")):
        return True
    if text.raw.count("(") != text.raw.count(")"):
        return True
    return len(text.words) > 1 and text.words[-1] in _DANGLING and text.register != LABEL


def _repetitive(text: _Text) -> bool:
    return is_repetitive(text.lower, tags=text.register == TAGS)


def _not_audible(text: _Text) -> bool:
    lower = text.lower
    if _SEEN.search(lower) or _PAINTED.search(lower) or _EXPLAINS.search(lower):
        return True
    if _DEFINES.search(lower) and not _SOUND_NOUN.search(lower):
        return not lower.startswith(("there ", "this ", "it "))
    if text.register in (LABEL, TAGS, QUERY):
        return False
    return _HAPPENED.search(lower) is not None or not is_audible(text.words, text.stems)


def _concept_missing(text: _Text) -> bool:
    request = text.request
    if not request.concepts:
        return False
    aliases = request.aliases[0] if request.aliases else ()
    return not names(text.stems, request.concepts[0], aliases)


_RULES: tuple[tuple[str, Callable[[_Text], bool]], ...] = (
    ("too_long", _too_long),  # first: nothing below has to read a megabyte
    ("markup", _markup),
    ("refusal", _refusal),
    ("wrong_language", _wrong_language),
    ("speech_transcript", _speech_transcript),
    ("too_short", _too_short),
    ("copied_example", _copied_example),
    ("truncated", _truncated),
    ("repetitive", _repetitive),
    ("not_audible", _not_audible),
    ("concept_missing", _concept_missing),
)

REASONS = ("empty", *(reason for reason, _ in _RULES))
