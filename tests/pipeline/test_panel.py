from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from cache_store import console
from pipeline.llm.source import Traffic
from pipeline.panel import Progress, duration, panel, plain_line, shown


def halfway(**changes: object) -> Progress:
    """A run of 60 s that has 100 + 50 of 200 captions; its clock stands still."""
    progress = Progress(
        wanted=200,
        before=100,
        kept=50,
        rejected=Counter(duplicate=7, too_short=2, near_duplicate=2),
        traffic=Traffic(
            in_flight=8,
            asked=20,
            replayed=3,
            retries=1,
            prompt_tokens=4_000,
            completion_tokens=600,
            usd=0.0123,
        ),
        priced=True,
        title="openai, m",
        clock=lambda: 160.0,
        began=100.0,
    )
    for name, value in changes.items():
        setattr(progress, name, value)
    return progress


def drawn(progress: Progress) -> str:
    out = io.StringIO()
    Console(file=out, width=100, no_color=True).print(panel(progress))
    return out.getvalue()


@pytest.mark.parametrize("show", [plain_line, drawn])
def test_everything_that_matters_is_shown(show: object) -> None:
    text = show(halfway())
    for fact in (
        "150 of 200",
        "duplicate 7, near_duplicate 2, too_short 2",
        "20 requests answered",
        "3 from the ledger",
        "1 attempts failed",
        "8 in flight",
        "4,600 tokens",
        "10 written a second",
        "$0.0123",
        "1 min 00 s gone, about 1 min 00 s left",
    ):
        assert fact in text, fact


def test_the_plain_line_is_one_line() -> None:
    assert "\n" not in plain_line(halfway())


def test_cost_is_shown_only_where_prices_are_known() -> None:
    assert "$" not in plain_line(halfway(priced=False))
    assert "$" not in drawn(halfway(priced=False))


def test_rare_reasons_are_summed_up() -> None:
    many = Counter({f"reason{number}": 10 - number for number in range(8)})
    assert "reason4 6, others 12" in plain_line(halfway(rejected=many))


def test_nothing_is_promised_before_the_first_caption() -> None:
    fresh = halfway(kept=0, rejected=Counter())
    assert fresh.seconds_left is None
    assert fresh.share_kept is None
    assert "left" not in plain_line(fresh)


def test_the_share_kept_is_of_what_was_judged() -> None:
    assert halfway().share_kept == pytest.approx(50 / 61)


def test_a_stop_is_shown() -> None:
    assert "(stopping)" in drawn(halfway(stopping=True))


def test_a_name_in_brackets_is_shown_as_it_is() -> None:
    assert "[bold]" in drawn(halfway(title="[bold]model[/bold]"))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7_500, "2 h 05 min"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_off_a_terminal_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    progress = halfway(clock=lambda: now[0], began=0.0)
    monkeypatch.setattr(console, "on_terminal", lambda: False)
    with shown(progress) as changed:
        for second in range(25):
            now[0] = float(second)
            changed()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2, "one each ten seconds"
    assert all(line.startswith("generate: 150 of 200 kept") for line in lines)


def test_on_a_terminal_the_panel_lives(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "on_terminal", lambda: True)
    with shown(halfway()) as changed:
        changed()
    shown_text = capsys.readouterr().err
    assert "150 of 200" in shown_text
