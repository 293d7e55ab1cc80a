"""Calibration figures: whole PNG files, and the numbers in them read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from gammasky.analyses.calibration.figures import COLOURS, draw_pp, draw_ranks, save_figures
from gammasky.engine.errors import InputError

N_DRAWS = 99


def names(n: int) -> list[str]:
    return [f"S_{k}" for k in range(n)]


def uniform(n_skies: int, n_parameters: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, N_DRAWS + 1, (n_skies, n_parameters))


def rectangles(panel: Axes) -> list[Rectangle]:
    return [patch for patch in panel.patches if isinstance(patch, Rectangle)]


def check_png(path: Path) -> None:
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    image = imread(path)[..., :3]
    assert min(image.shape[:2]) > 400
    assert image.std() > 0.05
    ink = np.argwhere((image < 0.9).any(axis=2))
    assert (ink.min(axis=0) > 5).all(), "clipped at the top or left"
    assert (ink.max(axis=0) < np.array(image.shape[:2]) - 6).all(), "clipped at the bottom or right"


@pytest.mark.slow
@pytest.mark.parametrize(("n_parameters", "n_skies"), [(1, 200), (20, 64)])
def test_figures_of_several_runs(n_parameters: int, n_skies: int, tmp_path: Path) -> None:
    runs = {"likelihood": uniform(n_skies, n_parameters), "photons, King PSF": uniform(20, n_parameters, 1)}
    written = save_figures(runs, N_DRAWS, names(n_parameters), tmp_path / "new")
    assert [path.name for path in written] == ["pp.png", "ranks_likelihood.png", "ranks_photons_king_psf.png"]
    assert set(written) == set((tmp_path / "new").iterdir())
    for path in written:
        check_png(path)


def test_rank_panels_show_the_counts_and_colour_what_is_outside() -> None:
    rank = uniform(100, 2)
    rank[:, 1] //= 2  # all truths among the lower half
    figure = draw_ranks(rank, N_DRAWS, ["good", "bad"], bins=10)
    for number, panel in enumerate(figure.axes):
        counts = np.histogram(rank[:, number], np.arange(0, 101, 10))[0]
        bars = sorted(rectangles(panel), key=lambda bar: bar.get_x())
        np.testing.assert_array_equal([bar.get_height() for bar in bars], counts)
        assert panel.get_ylim()[1] > counts.max()
    good, bad = figure.axes
    assert [panel.get_title() for panel in figure.axes] == ["good", "bad"]
    outside = {to_rgba(COLOURS[1], 0.9)}
    assert not outside & {bar.get_facecolor() for bar in rectangles(good)}
    lowest = [bar for bar in rectangles(bad) if bar.get_facecolor() in outside and bar.get_height() == 0]
    assert len(lowest) == 5
    (dots,) = (line for line in bad.get_lines() if line.get_marker() == "o")
    assert list(dots.get_ydata()) == [0] * 5
    assert good.texts[0].get_text().startswith("p = 0.")
    assert float(bad.texts[0].get_text().removeprefix("p = ")) < 1e-9


def test_pp_panels_show_the_share_of_truths_in_central_intervals() -> None:
    rng = np.random.default_rng(3)
    runs = {"one": rng.random((50, 2)), "two": rng.random((80, 2))}
    figure = draw_pp(runs, ["a", "b"])
    levels = np.linspace(0.01, 0.99, 99)
    for number, panel in enumerate(figure.axes):
        _diagonal, *curves = panel.get_lines()
        assert len(curves) == 2
        for curve, u in zip(curves, runs.values(), strict=True):
            mass = np.abs(2 * u[:, number] - 1)
            expected = [0.0, *[(mass <= level).mean() for level in levels], 1.0]
            np.testing.assert_allclose(curve.get_ydata(), expected, atol=1e-12)
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["one (50 skies)", "two (80 skies)", "95 % band of a whole curve, 50 skies"]


@pytest.mark.parametrize(("n", "columns", "rows"), [(1, 1, 1), (6, 3, 2), (40, 8, 5)])
def test_panels_fill_the_page(n: int, columns: int, rows: int) -> None:
    figure = draw_pp({"run": np.random.default_rng(0).random((12, n))}, names(n))
    assert len(figure.axes) == n
    grid = figure.axes[0].get_subplotspec().get_gridspec()
    assert (grid.ncols, grid.nrows) == (columns, rows)
    with_labels = [panel for panel in figure.axes if panel.xaxis.get_tick_params()["labelbottom"]]
    assert len(with_labels) >= min(columns, n)


def test_bad_figures(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"expected one for each column of an array .*, got 1 names and an array \(4, 2\)"
    ):
        draw_ranks(uniform(4, 2), N_DRAWS, ["a"])
    with pytest.raises(InputError, match=r"run 'two': expected 1 parameters as in the names, got 2"):
        draw_pp({"one": np.full((9, 1), 0.5), "two": np.full((9, 2), 0.5)}, ["a"])
    with pytest.raises(InputError, match=r"runs of the P-P figure: expected at least one, got none"):
        draw_pp({}, ["a"])
    with pytest.raises(InputError, match=r"runs of the P-P figure: expected at most 7, got 8"):
        draw_pp({str(k): np.full((9, 1), 0.5) for k in range(8)}, ["a"])
    with pytest.raises(InputError, match=r"labels of runs: expected ones that differ .*, got King PSF, king-psf"):
        save_figures({"King PSF": uniform(9, 1), "king-psf": uniform(9, 1)}, N_DRAWS, ["a"], tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
