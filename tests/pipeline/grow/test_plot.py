from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import MissingDependencyError, UsageError
from pipeline.grow.plot import bin_edges, check_plot, draw
from tests.pipeline.grow.world import grow


@given(st.floats(0, 2), st.floats(0, 0.3))
def test_bins_end_at_the_threshold_and_hold_every_gap(widest: float, threshold: float) -> None:
    edges = bin_edges(widest, threshold)
    assert edges == sorted(set(edges)) and edges[0] == 0
    assert len(edges) <= 40
    assert edges[-1] >= widest * (1 - 1e-12)
    if threshold > 1e-6:
        assert threshold in edges


def test_a_plot_is_drawn_before_and_after_growing(cache: Path, audio: Path, tmp_path: Path) -> None:
    for ask in (False, True):
        path = tmp_path / "new" / f"{ask}.png"
        draw(grow(cache, audio, n=20, ask=ask), path)
        image = path.read_bytes()
        assert image.startswith(b"\x89PNG") and len(image) < 100_000
        draw(grow(cache, audio, n=20, ask=ask), path)
        assert path.read_bytes() == image, "the same growth is the same picture"


def test_where_it_cannot_be_drawn_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="PNG"):
        check_plot(tmp_path / "plot.pdf")
    with pytest.raises(UsageError, match="no such folder"):
        check_plot(tmp_path / "no" / "plot.png")


def test_without_matplotlib_the_line_that_installs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'lqtse\[plot\]'"):
        check_plot(tmp_path / "plot.png")
