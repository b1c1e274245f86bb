"""Small charts as inline SVG: no script, no network, every text escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence

_WIDTH = 640
_BAR = 22
_LABEL = 210
_INK, _FILL, _LINE = "#1f2933", "#1f6f8b", "#d9dee3"


def bars(values: Sequence[tuple[str, float]], title: str, note: str = "") -> str:
    """Horizontal bars, one a line, each with its name and its value.

    Args:
        values: Names and values, none below zero.
        title: What a screen reader says of the chart.
        note: After each value ("%").
    """
    most = max((value for _, value in values), default=0.0) or 1.0
    room = _WIDTH - _LABEL - 90
    parts = []
    for line, (name, value) in enumerate(values):
        y = line * _BAR
        length = max(room * value / most, 1.0 if value else 0.0)
        parts.append(
            f'<text x="{_LABEL - 8}" y="{y + 15}" text-anchor="end">{_cut(name)}</text>'
            f'<rect x="{_LABEL}" y="{y + 4}" width="{length:.1f}" height="14" fill="{_FILL}"/>'
            f'<text x="{_LABEL + length + 6:.1f}" y="{y + 15}">{_number(value)}{esc(note)}</text>'
        )
    return _svg("".join(parts), len(values) * _BAR + 6, title)


def columns(values: Sequence[tuple[str, float]], title: str) -> str:
    """Columns side by side: a histogram. Every fourth name is written below."""
    most = max((value for _, value in values), default=0.0) or 1.0
    step = _WIDTH / max(len(values), 1)
    height = 140
    parts = [f'<line x1="0" y1="{height}" x2="{_WIDTH}" y2="{height}" stroke="{_LINE}"/>']
    for place, (name, value) in enumerate(values):
        size = height * value / most
        parts.append(
            f'<rect x="{place * step + 1:.1f}" y="{height - size:.1f}" '
            f'width="{max(step - 2, 1):.1f}" height="{size:.1f}" fill="{_FILL}">'
            f"<title>{esc(name)}: {_number(value)}</title></rect>"
        )
        if place % 4 == 0:
            parts.append(f'<text x="{place * step:.1f}" y="{height + 16}">{esc(name)}</text>')
    return _svg("".join(parts), height + 24, title)


def curve(points: Sequence[tuple[float, float]], title: str, across: str) -> str:
    """A line through points whose heights are shares, from 0 to 1.

    Args:
        points: (setting, share), in the order of settings; drawn at even distances.
        title: What a screen reader says of the chart.
        across: What the settings are.
    """
    height, left = 160, 46
    step = (_WIDTH - left - 30) / max(len(points) - 1, 1)
    places = [
        (left + number * step, height - (height - 12) * min(max(share, 0.0), 1.0))
        for number, (_, share) in enumerate(points)
    ]
    parts = [
        f'<line x1="{left}" y1="{y:.1f}" x2="{_WIDTH}" y2="{y:.1f}" stroke="{_LINE}"/>'
        f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{share:g}</text>'
        for share in (0.0, 0.5, 1.0)
        for y in (height - (height - 12) * share,)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_FILL}" stroke-width="2"/>')
    for (x, y), (setting, share) in zip(places, points, strict=True):
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_FILL}">'
            f"<title>{setting:g}: {share:.4f}</title></circle>"
            f'<text x="{x:.1f}" y="{height + 18}" text-anchor="middle">{setting:g}</text>'
        )
    parts.append(f'<text x="{left}" y="{height + 36}">{esc(across)}</text>')
    return _svg("".join(parts), height + 42, title)


def esc(value: object) -> str:
    """A value as text of a page: it can neither become markup nor drive a terminal or a reader.

    Control characters, and those that turn the direction of what follows, become U+FFFD.
    """
    text = "".join(one if one.isprintable() else "\ufffd" for one in str(value))
    return html.escape(text)


def _svg(inside: str, height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{esc(title)}" '
        f'font-size="12" fill="{_INK}">{inside}</svg>'
    )


def _cut(name: str) -> str:
    return esc(name if len(name) <= 32 else f"{name[:31]}…")


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3g}"
