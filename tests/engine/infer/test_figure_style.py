"""The colours and patterns of the figures: who sees few colours, or none, can still tell curves apart."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gammasky.analyses.profiles.figures import BANDS
from gammasky.engine.infer.figures.compare import Curve, draw_corner, draw_dnds, draw_fluxes
from gammasky.engine.infer.figures.style import COLOURS, LINES, look
from gammasky.engine.infer.report.html import rendered

# Machado, Oliveira & Fernandes (2009), doi:10.1109/TVCG.2009.113, severity 1, of linear RGB
SIGHT = {
    "all colours": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# CIE XYZ of linear sRGB over that of white, by row
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
XYZ /= XYZ.sum(axis=1, keepdims=True)
# hue-rotate(180deg) of https://www.w3.org/TR/filter-effects-1/#feColorMatrixElement
HALF_TURN = np.array([[-0.574, 1.430, 0.144], [0.426, 0.430, 0.144], [0.426, 1.430, -0.856]])
JUST_SEEN = 2.3  # distance in CIE Lab


def lab(rgb: np.ndarray, sight: object) -> np.ndarray:
    """CIE Lab of sRGB colours (n, 3) as an eye sees them."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ np.asarray(sight).T, 0, 1) @ XYZ.T
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def smallest_distance(rgb: np.ndarray, sight: object) -> float:
    seen = lab(rgb, sight)
    distance = np.linalg.norm(seen[:, None] - seen, axis=-1)
    return float(distance[~np.eye(len(rgb), dtype=bool)].min())


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("page", ["light", "dark"])
def test_any_two_colours_differ_for_all_eyes(page: str, sight: str) -> None:
    rgb = np.array([to_rgb(colour) for colour in COLOURS])
    if page == "dark":  # as the page's filter turns them
        assert "filter: invert(.91) hue-rotate(180deg)" in rendered("page.css", "gammasky.engine.infer.report")
        rgb = np.clip((0.91 + (1 - 2 * 0.91) * rgb) @ HALF_TURN.T, 0, 1)
    assert smallest_distance(rgb, SIGHT[sight]) > 4 * JUST_SEEN


def test_the_measure_finds_red_and_green_alike() -> None:
    pair = np.array([to_rgb(colour) for colour in ("#A05A00", "#6A7800")])
    assert smallest_distance(pair, SIGHT["all colours"]) > 4 * JUST_SEEN
    assert smallest_distance(pair, SIGHT["deuteranopia"]) < 4 * JUST_SEEN


def test_bands_differ_in_lightness() -> None:
    lightness = lab(np.array([to_rgb(colour) for colour in (*BANDS, "white")]), SIGHT["all colours"])[:, 0]
    assert (np.diff(lightness) > 3 * JUST_SEEN).all()


def test_without_colour_patterns_tell_curves_apart() -> None:
    assert len({look(number)["linestyle"] for number in range(len(LINES))}) == len(LINES) >= 4
    assert "--" not in LINES  # of truths and limits
    looks = [tuple(look(number).values()) for number in range(len(COLOURS) * len(LINES))]
    assert len(set(looks)) == len(looks)


def patterns(lines: list[Line2D]) -> list[object]:
    return [line.get_linestyle() for line in lines]


def test_curves_and_intervals_of_several_posteriors() -> None:
    rng = np.random.default_rng(5)
    grid = np.geomspace(0.1, 100, 20)
    draws = rng.lognormal(size=(50, 20))
    curves = [Curve("first", grid, draws), Curve("second", grid, 2 * draws)]
    figure: Figure = draw_dnds({"sources": curves}, lines={})
    assert len(set(patterns(figure.axes[0].get_lines()))) == 2

    figure = draw_fluxes({"smooth": {"first": draws[:, 0], "second": draws[:, 1]}}, {})
    assert [line.get_marker() for line in figure.axes[0].get_lines()] == ["o", "s"]
    assert [handle.get_marker() for handle in figure.legends[0].legend_handles] == ["o", "s"]  # type: ignore[union-attr]

    figure = draw_corner({"first": rng.normal(size=(400, 2)), "second": rng.normal(size=(400, 2))}, ["a", "b"])
    assert len(set(patterns(figure.legends[0].legend_handles))) == 2  # type: ignore[arg-type]
    outlines = {patch.get_linestyle() for patch in figure.axes[0].patches}
    assert len(outlines) == 2
