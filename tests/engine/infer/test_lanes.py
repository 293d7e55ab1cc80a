"""Fits side by side in threads: the same draws as alone, to the last bit."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from gammasky.engine import interrupt
from gammasky.engine.infer.emulator import emulation
from gammasky.engine.infer.result import Fit
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel
from gammasky.engine.model.programs import Programs
from tests.engine.infer.emulator import toys

pytestmark = pytest.mark.usefixtures("compiled_fast")


def skies(model: SkyModel, count: int, programs: Programs) -> list[SkyModel]:
    """The model on skies of its own, by the same programs."""
    rng = np.random.default_rng(8)
    found = [model.with_counts(rng.permutation(model.pixels.counts)) for _ in range(count)]
    for sky in found:
        sky.share(programs)
    return found


def find(model: Any, method: str, seed: int) -> Fit:
    return fit(model, Settings(method=method, seed=seed), n_draws=200)


def one_by_one(models: Sequence[Any], method: str) -> list[Fit]:
    return [find(model, method, seed) for seed, model in enumerate(models)]


def side_by_side(models: Sequence[Any], method: str) -> list[Fit]:
    begin = threading.Barrier(len(models))

    def run(seed: int) -> Fit:
        begin.wait()
        return find(models[seed], method, seed)

    with ThreadPoolExecutor(len(models)) as pool:
        return list(pool.map(run, range(len(models))))


def same(one: Fit, other: Fit) -> None:
    np.testing.assert_array_equal(one.z, other.z)
    np.testing.assert_array_equal(one.log_likelihood, other.log_likelihood)


@pytest.mark.parametrize("width", [1, 3])
def test_fits_side_by_side_find_what_each_finds_alone(tiny_model: SkyModel, width: int) -> None:
    """Whether what they ask of programs is gathered or not; what is gathered agrees with what is not to rounding."""
    models = skies(tiny_model, 3, Programs(width))
    alone = one_by_one(models, "laplace")
    for one, other in zip(side_by_side(models, "laplace"), alone, strict=True):
        same(one, other)
    if width > 1:
        for one, other in zip(one_by_one(skies(tiny_model, 3, Programs()), "laplace"), alone, strict=True):
            np.testing.assert_allclose(one.z, other.z, rtol=1e-4, atol=1e-4)
    assert len({fit.z[0, 0] for fit in alone}) == 3


@pytest.mark.slow
def test_emulators_side_by_side_find_what_each_finds_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FIRST_STEPS": 400, "ROUND_STEPS": 200, "LAST_STEPS": 400, "FIRST": 256}.items():
        monkeypatch.setattr(emulation, name, value)
    models = [toys.prior(), toys.prior()]
    models[0].programs = models[1].programs = Programs()
    alone = one_by_one(models, "emulator")
    for one, other in zip(side_by_side(models, "emulator"), alone, strict=True):
        same(one, other)
    assert not np.array_equal(alone[0].z, alone[1].z)


def test_one_that_is_told_to_end_leaves_the_other_alone(tiny_model: SkyModel) -> None:
    models = skies(tiny_model, 2, Programs(3))
    (expected,) = one_by_one(models[:1], "laplace")
    word = threading.Event()
    word.set()

    def told() -> None:
        with interrupt.heeding(word):
            find(models[1], "laplace", 0)

    with ThreadPoolExecutor(2) as pool:
        interrupted, found = pool.submit(told), pool.submit(find, models[0], "laplace", 0)
        with pytest.raises(KeyboardInterrupt):
            interrupted.result()
        same(found.result(), expected)
