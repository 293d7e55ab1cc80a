"""Main effects of choices against numbers worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gammasky.analyses.ensemble.effects import Effects, main_effects

MASKS, SHAPES = {"a": 1.0, "b": -1.0}, {"x": 0.3, "y": 0.0, "z": -0.3}
CELLS = list(itertools.product(MASKS, SHAPES))
LABELS = [{"mask": mask, "shape": shape, "only": "one"} for mask, shape in CELLS]


def found(y: list[float], sd: float = 0.5, labels: list[dict[str, str]] = LABELS) -> Effects:
    effects = main_effects(labels, np.array(y), np.full(len(y), sd))
    assert effects is not None
    return effects


def shifts(effects: Effects) -> dict[str, float]:
    return {effect.choice: effect.shift for effect in effects.effects}


def test_additive_product() -> None:
    effects = found([5.0 + MASKS[mask] + SHAPES[shape] for mask, shape in CELLS])
    assert effects.grand_mean == pytest.approx(5.0)
    assert shifts(effects) == pytest.approx({**MASKS, **SHAPES}, abs=1e-12)
    assert {e.choice: e.moves for e in effects.effects} == {"a": True, "b": True, "x": False, "y": False, "z": False}
    of_mask, of_shape = 6 * 1.0, 2 * 2 * 0.3**2
    assert effects.explained == pytest.approx(
        {"mask": of_mask / (of_mask + of_shape), "shape": of_shape / (of_mask + of_shape)}
    )
    assert effects.rest == pytest.approx(0.0, abs=1e-12)
    assert effects.sd == pytest.approx(0.5)
    assert all(effect.error == pytest.approx(0.0, abs=1e-10) for effect in effects.effects)
    assert [effect.n for effect in effects.effects] == [3, 3, 2, 2, 2]


def test_interaction_is_the_error_of_the_shifts() -> None:
    """y = d (+1, 0, -1) in mask a and minus that in b: no main effect at all, residual variance 4 d^2 / 2 df."""
    d = 0.2
    effects = found([d, 0.0, -d, -d, 0.0, d])
    assert list(shifts(effects).values()) == pytest.approx([0.0] * 5, abs=1e-12)
    assert effects.rest == pytest.approx(1.0)
    noise = 4 * d**2 / 2  # six members, four parameters
    errors = [effect.error for effect in effects.effects]
    assert errors[0] == pytest.approx(np.sqrt(noise * (1 / 3) / 2))  # mean of 3 minus the mean of all 6
    assert errors[2] == pytest.approx(np.sqrt(noise * (1 / 2) * (2 / 3)))  # mean of 2 minus the mean of all 6


def test_repeats_tell_no_more_of_interactions() -> None:
    """However many seeds each fit was made with, its shifts depend as much on the other axes."""
    d = 0.2
    y = [d, 0.0, -d, -d, 0.0, d]
    once, often = found(y), found(y * 10, labels=LABELS * 10)
    assert often.effects[0].n == 10 * once.effects[0].n
    assert [e.error for e in often.effects] == pytest.approx([e.error for e in once.effects])
    assert (often.repeats, often.rest) == (0.0, pytest.approx(once.rest))


def test_where_nothing_else_is_left_the_seeds_are_the_error() -> None:
    effects = found([0.9, 1.1, 2.9, 3.1], labels=[{"mask": mask} for mask in "aabb"])
    assert effects.repeats == pytest.approx(np.sqrt(0.02))
    assert [e.error for e in effects.effects] == pytest.approx([np.sqrt(0.02 / 2 / 2)] * 2)


def test_a_missing_member_changes_nothing_in_an_additive_ensemble() -> None:
    y = [5.0 + MASKS[mask] + SHAPES[shape] for mask, shape in CELLS]
    effects = found([*y[:4], np.nan, y[5]])
    assert shifts(effects) == pytest.approx({**MASKS, **SHAPES}, abs=1e-12)
    assert effects.grand_mean == pytest.approx(5.0)
    assert effects.n == 5


def test_the_shift_must_exceed_the_posterior_error() -> None:
    y = [5.0 + MASKS[mask] for mask, _ in CELLS]
    assert {e.axis for e in found(y, sd=0.9).effects if e.moves} == {"mask"}
    assert not any(e.moves for e in found(y, sd=1.1).effects)


def test_axes_that_go_together_count_as_one() -> None:
    labels = [{"mask": m, "shape": s, "twin": m} for m, s in CELLS]
    effects = found([MASKS[m] + SHAPES[s] for m, s in CELLS], labels=labels)
    assert {e.axis for e in effects.effects} == {"shape", "mask, twin"}
    assert shifts(effects) == pytest.approx({**SHAPES, "a, a": 1.0, "b, b": -1.0})
    assert effects.explained.keys() == {"shape", "mask, twin"}
    assert all(np.isfinite(share) and share > 0 for share in effects.explained.values())


def test_a_list_of_one_change_each_has_effects() -> None:
    """No member has the usual choice of both axes: which axis does it nobody can say, but each member is another."""
    labels = [{"shape": "nfw", "bar": "base"}, {"shape": "bulge", "bar": "base"}, {"shape": "base", "bar": "free"}]
    effects = found([0.5, 0.2, 0.8], sd=0.1, labels=labels)
    assert shifts(effects) == pytest.approx({"nfw, base": 0.0, "bulge, base": -0.3, "base, free": 0.3}, abs=1e-12)
    assert [e.moves for e in effects.effects] == [False, True, True]


def test_as_many_members_as_numbers_leave_no_error() -> None:
    effects = main_effects([{"mask": "a"}, {"mask": "b"}], np.array([1.0, 3.0]), np.ones(2))
    assert effects is not None
    assert [effect.shift for effect in effects.effects] == pytest.approx([-1.0, 1.0])
    assert all(np.isnan(effect.error) for effect in effects.effects)


def test_nothing_varies() -> None:
    effects = found([0.1] * 6)
    assert effects.explained == {"mask": 0.0, "shape": 0.0}
    assert set(shifts(effects).values()) == {0.0}
    assert effects.rest == 0.0


def test_nothing_to_compare() -> None:
    assert main_effects([], np.zeros(0), np.zeros(0)) is None
    assert main_effects([{"mask": "a"}] * 2, np.zeros(2), np.ones(2)) is None
    assert main_effects(LABELS, np.full(6, np.nan), np.ones(6)) is None
