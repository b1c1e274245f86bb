"""What `generate` shows while it runs: a live panel on a terminal, plain lines elsewhere.

Captions kept, refused by reason, requests in flight, tokens, cost where the price is known, and the
time left at the pace so far.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cache_store import console
from pipeline.llm.source import Traffic

if TYPE_CHECKING:
    from rich.panel import Panel

REFRESH = 4  # panels a second
_SHOWN_REASONS = 5


@dataclass
class Progress:
    """The state of a run, changed by `generate` and read by whoever shows it.

    Attributes:
        wanted: Captions that this plan shall have in the end.
        before: Captions that it had before this run.
        kept: Captions kept by this run.
        rejected: Captions refused by this run, by reason.
        traffic: Requests, tokens and cost.
        priced: Whether the cost is known.
        title: What runs ("local, SmolLM2-135M").
        stopping: Whether a stop was asked for.
        began: When it began, on `clock`.
        clock: Seconds on any monotonic scale.
    """

    wanted: int = 0
    before: int = 0
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    traffic: Traffic = field(default_factory=Traffic)
    priced: bool = False
    title: str = ""
    stopping: bool = False
    clock: Callable[[], float] = time.monotonic
    began: float = 0.0

    def begin(self) -> None:
        """Start the clock."""
        self.began = self.clock()

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return self.clock() - self.began

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the pace so far, None while there is no pace."""
        if not self.kept:
            return None
        return self.seconds / self.kept * max(0, self.wanted - self.before - self.kept)

    @property
    def share_kept(self) -> float | None:
        """Kept captions per caption judged in this run, None before the first."""
        judged = self.kept + self.rejected.total()
        return self.kept / judged if judged else None


def plain_line(progress: Progress) -> str:
    """One line of progress: "generate: 120 of 300 kept, 31 refused (duplicate 20, ...)"."""
    parts = [f"{progress.before + progress.kept:,} of {progress.wanted:,} kept"]
    if progress.rejected:
        parts.append(f"{progress.rejected.total():,} refused ({_reasons(progress.rejected)})")
    parts += [text for _, text in _requests(progress)]
    return "generate: " + ", ".join(parts)


def panel(progress: Progress) -> Panel:
    """The live panel, as something that rich can draw."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    done = progress.before + progress.kept
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    share = progress.share_kept
    of_judged = "" if share is None else f"  ({share:.0%} of what was judged)"
    table.add_row("kept", f"{done:,} of {progress.wanted:,}{of_judged}")
    table.add_row("refused", _reasons(progress.rejected) or "none")
    for name, text in _requests(progress):
        table.add_row(name, text)
    # As text: a model's name may hold what rich would read as markup.
    title = Text(f"generate: {progress.title}" + (" (stopping)" if progress.stopping else ""))
    bar = ProgressBar(total=max(progress.wanted, 1), completed=done)
    return Panel(Group(bar, table), title=title, title_align="left")


@contextmanager
def shown(progress: Progress) -> Iterator[Callable[[], None]]:
    """Show `progress` while the context lasts; yields what to call when something changed."""
    if console.on_terminal():
        with _live(progress):
            yield _nothing
    else:
        yield _lines(progress)


@contextmanager
def _live(progress: Progress) -> Iterator[None]:
    from rich.console import Console
    from rich.live import Live

    with Live(
        get_renderable=lambda: panel(progress),
        console=Console(stderr=True),
        refresh_per_second=REFRESH,
    ):
        yield


def _nothing() -> None:
    """The panel refreshes by itself."""


def _lines(progress: Progress) -> Callable[[], None]:
    last = progress.clock()

    def changed() -> None:
        nonlocal last
        now = progress.clock()
        if now - last >= console.PLAIN_INTERVAL:
            last = now
            console.note(plain_line(progress))

    return changed


def _requests(progress: Progress) -> list[tuple[str, str]]:
    traffic = progress.traffic
    counts = f"{traffic.asked:,} requests answered"
    if traffic.replayed:
        counts += f", {traffic.replayed:,} from the ledger"
    if traffic.retries:
        counts += f", {traffic.retries:,} attempts failed"
    if traffic.failed:
        counts += f", {traffic.failed:,} without an answer"
    rows = [("requests", f"{counts}, {traffic.in_flight:,} in flight")]
    if traffic.waiting:
        rows.append(("waiting", traffic.waiting))
    tokens = traffic.prompt_tokens + traffic.completion_tokens
    if tokens:
        pace = traffic.completion_tokens / max(progress.seconds, 1e-9)
        rows.append(("tokens", f"{tokens:,} tokens, {pace:,.0f} written a second"))
    if progress.priced:
        rows.append(("cost", f"${traffic.usd:,.4f}"))
    left = progress.seconds_left
    if left is not None:
        rows.append(("time", f"{duration(progress.seconds)} gone, about {duration(left)} left"))
    return rows


def _reasons(rejected: Counter[str]) -> str:
    # By count, then by name: two draws of one state look the same.
    ordered = sorted(rejected.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(count for _, count in ordered[_SHOWN_REASONS:])
    shown = [f"{reason} {count:,}" for reason, count in ordered[:_SHOWN_REASONS]]
    return ", ".join([*shown, f"others {rest:,}"] if rest else shown)


def duration(seconds: float) -> str:
    """Seconds as a person would say them: "45 s", "3 min 20 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
