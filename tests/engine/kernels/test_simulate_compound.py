"""The likelihood's own draw against its generating function."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.simulate.compound import compound_counts

MEAN = np.array([0.3, 2.0, 0.0, 15.0])
TEMPLATES = np.array([[1.0, 0.2, 0.0, 3.0], [0.5, 4.0, 0.0, 0.0]])
REGION = np.array([0, 1, 1, 0])
N = 20_000


def response() -> np.ndarray:
    """x (I, R, M + 1) with minus the sum in row 0, as the likelihood keeps it."""
    x = np.random.default_rng(1).exponential(size=(2, 2, 31)) * 0.7 ** np.arange(31)
    x[..., 4] = 0.0
    x[..., 0] = -x[..., 1:].sum(axis=-1)
    return x


def probabilities(pixel: int, size: int = 400) -> np.ndarray:
    """p_k from the generating function on the unit circle, log G(t) = mean (t - 1) + sum_i T_i sum_m x_m (t^m - 1)."""
    t = np.exp(2j * np.pi * np.arange(size) / size)
    x = response()[:, REGION[pixel], 1:]
    powers = t[:, None] ** np.arange(1, 31) - 1
    log_g = MEAN[pixel] * (t - 1) + powers @ (TEMPLATES[:, pixel] @ x)
    return np.abs(np.fft.fft(np.exp(log_g)).real / size)


def draw(**changes: object) -> np.ndarray:
    given = {"mean": MEAN, "templates": TEMPLATES, "x": response(), "region": REGION, "seed": 4, "n": N}
    return compound_counts(**(given | changes))  # type: ignore[arg-type]


def p_value(counts: np.ndarray, expected: np.ndarray) -> float:
    """Chi-square of a histogram of counts, with the rare ones together."""
    observed = np.bincount(counts, minlength=len(expected))[: len(expected)]
    keep = expected * len(counts) > 10
    observed = np.append(observed[keep], len(counts) - observed[keep].sum())
    share = np.append(expected[keep], 1 - expected[keep].sum())
    return float(chisquare(observed, share * len(counts)).pvalue)


@pytest.mark.parametrize("pixel", [0, 1, 3])
def test_counts_have_the_probabilities_of_the_likelihood(pixel: int) -> None:
    assert p_value(draw()[:, pixel], probabilities(pixel)) > 1e-3


def test_the_test_sees_a_wrong_region_and_a_missing_population() -> None:
    counts = draw(region=1 - REGION), draw(templates=TEMPLATES * [[1], [0]])
    assert max(p_value(wrong[:, 1], probabilities(1)) for wrong in counts) < 1e-6


def test_a_pixel_without_mean_stays_empty() -> None:
    assert not draw()[:, 2].any()


def test_pixels_and_populations_are_independent() -> None:
    correlation = np.corrcoef(draw()[:, [0, 1, 3]].T)
    assert np.abs(correlation[np.triu_indices(3, 1)]).max() < 4 / np.sqrt(N)


def test_row_zero_is_not_used() -> None:
    x = response()
    x[..., 0] = np.nan
    np.testing.assert_array_equal(draw(x=x, n=5), draw(n=5))


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_a_sky_is_its_seed_and_number(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", threads)
    parts = [draw(n=1), draw(n=4, first=1), draw(n=2, first=5)]
    np.testing.assert_array_equal(np.concatenate(parts), draw(n=7))
    assert (draw(n=50, seed=5) != draw(n=50)).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": MEAN * np.nan}, "mean must be from 0 to 1e.09, got nan"),
        ({"mean": -MEAN}, r"mean must be from 0 to 1e.09, got -0\.3"),
        ({"templates": TEMPLATES - 1}, "templates must be from 0"),
        ({"x": -response()}, "compound counts: x must be from 0"),
        ({"x": response() * 1e9}, "x must be|templates times x must be"),
        ({"mean": MEAN + np.inf}, "mean must be from 0 to 1e.09, got inf"),
    ],
)
def test_bad_input(changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw(n=1, **changes)
