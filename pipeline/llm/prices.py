"""What tokens cost, and when a budget is spent.

Prices come from the user, in USD per million tokens: lists of ours would be out of date on the day
they ship. A budget, of money or of tokens, is kept on the safe side: before a request is sent, the
most that it can take is set aside, and what was in flight when a process died counts as spent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cache_store.errors import ConfigError, UsageError
from pipeline.llm.amount import NOTHING, Amount
from prompts.request import Request

PER = 1_000_000  # tokens a price is for
BYTES_PER_TOKEN = 3  # English text has 4 to 5; fewer bytes a token means a larger, safer estimate
MESSAGE_TOKENS = 8  # what a chat format adds around one message

Bound = Literal["", "--max-usd", "--max-tokens"]
"""A limit of a budget, by the option that sets it."""

EXAMPLE = '{"gpt-4o-mini": {"input": 0.15, "output": 0.60}}'


@dataclass(frozen=True)
class Price:
    """What one model costs, in USD per million tokens read and written."""

    input: float
    output: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The cost of one answer, in USD."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / PER


def read_price(path: Path, model: str, *, batch: bool = False) -> Price:
    """Read the price of `model` from a JSON file, `{model: {"input": x, "output": y}}`.

    Args:
        path: The file.
        model: The model's name.
        batch: The price in batches: "batch_input" and "batch_output" where the file has them.

    Raises:
        UsageError: If the file cannot be read or does not name the model.
        ConfigError: If a price is not a number of at least 0.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError("cannot read the prices", where=path, found=error.strerror) from None
    except ValueError:
        raise UsageError(
            "the prices are not JSON in UTF-8", where=path, expected=f"for example {EXAMPLE}"
        ) from None
    if not isinstance(table, Mapping) or model not in table:
        known = ", ".join(map(str, table)) if isinstance(table, Mapping) else "no table"
        raise UsageError("no price for this model", where=path, expected=model, found=known)
    return _price(table[model], model, path, batch)


def _price(entry: Any, model: str, path: Path, batch: bool) -> Price:
    values = entry if isinstance(entry, Mapping) else {}
    names = [
        f"batch_{name}" if batch and f"batch_{name}" in values else name
        for name in ("input", "output")
    ]
    faults = [
        f"{model}.{name} must be a number of at least 0, got {values.get(name)!r}"
        for name in names
        if not _is_amount(values.get(name))
    ]
    if faults:
        raise ConfigError(faults, where=path)
    return Price(*(float(values[name]) for name in names))


def _is_amount(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )


def prompt_tokens_at_most(request: Request) -> int:
    """An estimate on the high side of the tokens that `request` makes a model read."""
    longest = max(
        sum(len(str(message["content"]).encode()) for message in request.messages),
        len(request.prompt.encode()),
    )
    schema = len(json.dumps(request.schema)) if request.schema else 0
    overhead = MESSAGE_TOKENS * (len(request.messages) + 1)
    return math.ceil((longest + schema) / BYTES_PER_TOKEN) + overhead


def tokens_at_most(request: Request) -> int:
    """An estimate on the high side of the tokens that one attempt takes, read and written."""
    return prompt_tokens_at_most(request) + request.max_tokens


class Budget:
    """What may be spent on one cache, in money and in tokens.

    Args:
        price: The model's price, None if it is not known (then no money can be counted).
        max_usd: USD that may be spent in all, None for no limit.
        max_tokens: Tokens that may be read and written in all, None for no limit.
        spent: What was spent before, as the ledger has it.

    Attributes:
        bound: The limit that was in the way when `reserve` last refused, "" if it never did.
    """

    def __init__(
        self,
        price: Price | None = None,
        max_usd: float | None = None,
        max_tokens: int | None = None,
        spent: Amount = NOTHING,
    ) -> None:
        self.price = price
        self.max_usd = max_usd
        self.max_tokens = max_tokens
        self.spent = spent
        self.bound: Bound = ""
        self._reserved = NOTHING

    def worst_case(self, request: Request) -> Amount:
        """The most that one attempt of `request` can take; it costs nothing without a price."""
        read, written = prompt_tokens_at_most(request), request.max_tokens
        usd = 0.0 if self.price is None else self.price.cost(read, written)
        # A model on this machine, which costs nothing, reads a prompt anew for each continuation.
        times = 1 if request.is_chat else request.count
        return Amount(usd, read * times + written)

    def share(self, parts: int) -> Budget:
        """One of so many equal parts of what is left, as a budget of its own."""
        taken = self.spent + self._reserved
        usd = None if self.max_usd is None else (self.max_usd - taken.usd) / parts
        tokens = None if self.max_tokens is None else (self.max_tokens - taken.tokens) // parts
        return Budget(self.price, usd, tokens)

    def reserve(self, amount: Amount) -> bool:
        """Set `amount` aside; False, and nothing set aside, if a limit would be passed."""
        then = self.spent + self._reserved + amount
        if self.max_usd is not None and then.usd > self.max_usd:
            self.bound = "--max-usd"
            return False
        if self.max_tokens is not None and then.tokens > self.max_tokens:
            self.bound = "--max-tokens"
            return False
        self._reserved += amount
        return True

    def hold(self, amount: Amount) -> None:
        """Set `amount` aside for what is under way already, even beyond a limit."""
        self._reserved += amount

    def settle(self, reserved: Amount, spent: Amount) -> None:
        """Give back what was set aside for a request, and count what it took."""
        self._reserved -= reserved
        self.spent += spent

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """The cost of an answer in USD, None without a price."""
        if self.price is None:
            return None
        return self.price.cost(prompt_tokens, completion_tokens)
