"""The tokenizer of a GGUF model, rebuilt from its metadata with the `tokenizers` package.

Two kinds cover nearly all models that llama.cpp runs. `gpt2` is byte-level BPE over the pieces that
a pattern cuts a text into; `tokenizer.ggml.pre` names the pattern. `llama` is the BPE of
SentencePiece over the whole text, spaces as "▁": the pair whose piece scores highest is joined
first. Checked against llama.cpp's own `/tokenize` (`gpt2`) and the sentencepiece package (`llama`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BYTE_LEVEL, SENTENCE_PIECE = "gpt2", "llama"

# The patterns of the published models: GPT-2's, and two successors of GPT-4's (Llama 3, Qwen 2).
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTIONS}|\p{{N}}{{1,3}}|{_REST}"
_QWEN2 = rf"{_CONTRACTIONS}|\p{{N}}|{_REST}"
_DIGIT = r"\p{N}"

_PATTERNS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion"), (_GPT2,)),
    **dict.fromkeys(
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"), (_DIGIT, _GPT2)
    ),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "dbrx", "smaug-bpe"), (_LLAMA3,)),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "stablelm2"), (_QWEN2,)),
}

# In `tokenizer.ggml.token_type`.
_CONTROL, _USER_DEFINED = 3, 4


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer and what goes around a text.

    Attributes:
        tokenizer: Splits a text; adds nothing to it.
        first: What llama.cpp puts before a text ("<s>"), "" for nothing.
        exact: False where the model's own pattern is not known and Llama 3's stands in for it.
    """

    tokenizer: Tokenizer
    first: str
    exact: bool


def read_vocabulary(metadata: Mapping[str, Any]) -> Vocabulary | None:
    """Rebuild the tokenizer of a model.

    Args:
        metadata: The pairs of a GGUF file.

    Returns:
        None if the file has no tokenizer, or one of another kind (WordPiece, unigram, RWKV).
    """
    kind = metadata.get("tokenizer.ggml.model")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or kind not in (BYTE_LEVEL, SENTENCE_PIECE):
        return None
    exact = True
    if kind == BYTE_LEVEL:
        pre = str(metadata.get("tokenizer.ggml.pre", ""))
        exact = pre in _PATTERNS
        tokenizer = _byte_level(tokens, metadata, _PATTERNS.get(pre, (_LLAMA3,)))
    else:
        tokenizer = _sentence_piece(tokens, metadata)
    _add_special(tokenizer, tokens, metadata)
    begins = metadata.get("tokenizer.ggml.add_bos_token", kind == SENTENCE_PIECE)
    place = metadata.get("tokenizer.ggml.bos_token_id", -1)
    first = tokens[place] if begins and 0 <= place < len(tokens) else ""
    return Vocabulary(tokenizer, first, exact)


def _byte_level(
    tokens: list[str], metadata: Mapping[str, Any], patterns: tuple[str, ...]
) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    merges = [_pair(line) for line in metadata.get("tokenizer.ggml.merges", ())]
    numbers = {token: number for number, token in enumerate(tokens)}
    # Llama 3 takes a piece that is a token whole, whatever its merges say.
    whole = patterns == (_LLAMA3,)
    tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=merges, ignore_merges=whole))
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    return tokenizer


def _pair(merge: str) -> tuple[str, str]:
    # The space between the two is the first that is not at the very beginning.
    place = merge.index(" ", 1)
    return merge[:place], merge[place + 1 :]


def _sentence_piece(tokens: list[str], metadata: Mapping[str, Any]) -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers

    numbers = {token: number for number, token in enumerate(tokens)}
    unknown = tokens[metadata.get("tokenizer.ggml.unknown_token_id", 0)]
    model = models.BPE(
        vocab=numbers,
        merges=_merges(tokens, metadata.get("tokenizer.ggml.scores", ()), numbers),
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    steps: list[Any] = [normalizers.Replace(" ", "▁")]
    if metadata.get("tokenizer.ggml.add_space_prefix", True):
        steps.insert(0, normalizers.Prepend(" "))
    tokenizer.normalizer = normalizers.Sequence(steps)
    return tokenizer


def _merges(
    tokens: list[str], scores: list[float], numbers: Mapping[str, int]
) -> list[tuple[str, str]]:
    """Every pair of pieces that makes a piece, the one whose piece scores highest first."""
    found: list[tuple[float, tuple[int, int], tuple[str, str]]] = []
    for token, score in zip(tokens, scores, strict=False):
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in numbers and right in numbers:
                found.append((-score, (numbers[left], numbers[right]), (left, right)))
    return [pair for _, _, pair in sorted(found)]


def _add_special(tokenizer: Tokenizer, tokens: list[str], metadata: Mapping[str, Any]) -> None:
    from tokenizers import AddedToken

    kinds = metadata.get("tokenizer.ggml.token_type", ())
    special = [
        token
        for token, kind in zip(tokens, kinds, strict=False)
        if kind in (_CONTROL, _USER_DEFINED) and token
    ]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
