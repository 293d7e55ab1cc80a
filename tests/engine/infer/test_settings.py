"""Settings of a fit: those that its method has, checked where they are made; methods and guides of one's own."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError
from gammasky.engine.infer.citations import works_of_methods
from gammasky.engine.infer.guides import GUIDES, Family, Guide
from gammasky.engine.infer.methods import METHODS
from gammasky.engine.infer.methods.method import Method
from gammasky.engine.infer.option import Option
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.verdict import Verdict, judged
from gammasky.engine.model import SkyModel

OF_DIRECT_FITS = {"schedule", "clip", "alpha", "starts", "early_stop"}  # of method svi without a copy


@pytest.mark.parametrize("method", sorted(METHODS))
def test_defaults_are_those_of_the_method(method: str) -> None:
    settings = Settings(method=method)
    known = {"method", "seed", *METHODS[method].options}
    assert settings.resolved().keys() == (known - OF_DIRECT_FITS if method == "svi" else known)
    for name, option in METHODS[method].options.items():
        assert getattr(settings, name) == option.default
        if option.default is not None:
            assert option.checked(name, option.default) == option.default
    assert Settings(**settings.resolved()).resolved() == settings.resolved()


def test_defaults_follow_from_what_the_guide_is_fitted_to() -> None:
    on_copy, direct = Settings(method="svi").resolved(), Settings(method="svi", emulator=False).resolved()
    assert (on_copy["steps"], on_copy["particles"], on_copy["learning_rate"]) == (2000, 64, 3e-3)
    assert (direct["steps"], direct["particles"], direct["clip"]) == (5000, 8, 1.0)


def test_what_follows_from_the_guide_is_settled_at_use() -> None:
    changed = replace(Settings(method="svi", emulator=False), guide="iaf")
    assert (changed.learning_rate, changed.schedule) == (None, None)
    assert (changed.resolved()["learning_rate"], changed.resolved()["schedule"]) == (3e-4, "constant")
    assert replace(changed, guide="flow").resolved() == Settings(method="svi", emulator=False).resolved()
    assert Settings(method="svi", emulator=False).resolved()["learning_rate"] == 3e-3
    assert (
        replace(Settings(method="svi", emulator=False, learning_rate=0.01), guide="iaf").resolved()["learning_rate"]
        == 0.01
    )


def test_a_flow_has_a_size_and_what_is_no_flow_has_none() -> None:
    assert Settings(method="svi", guide="iaf", width=64).resolved().items() >= {"layers": 5, "width": 64}.items()
    assert not {"layers", "width"} & Settings(method="svi", guide="mvn").resolved().keys()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"method": "svi", "guide": "mvn", "layers": 3}, "^layers: guide mvn is no flow and has none; leave it out"),
        ({"method": "svi", "steps": 2.5}, r"^steps: expected a whole number of at least 1, got 2\.5$"),
        ({"method": "svi", "steps": True}, "steps: expected a whole number of at least 1, got True"),
        ({"method": "svi", "steps": "8"}, "steps: expected a whole number of at least 1, got '8'"),
        ({"method": "svi", "steps": float("inf")}, "steps: expected a whole number of at least 1, got inf"),
        ({"method": "svi", "early_stop": 1}, "early_stop: expected true or false, got 1"),
        ({"method": "svi", "clip": "1"}, "clip: expected a finite number above 0, got '1'"),
        ({"method": "svi", "guide": 3}, "unknown guide '3'"),
        ({"method": "svi", "stepz": 5}, "unknown setting of method svi 'stepz'; did you mean 'steps'"),
        ({"steps": 5}, r"^steps is a setting of method svi, and this fit is by emulator: add `method='svi'`$"),
        ({"method": "laplace", "chains": 4}, "methods nuts and auto, and this fit is by laplace: add `method='nuts'`"),
        ({"stepz": 5}, "unknown setting of method emulator 'stepz'"),
        ({"method": "svi", "alpha": 0.5}, r"^alpha: a fit to the copy .* no such setting; .* by `emulator=False`$"),
        ({"method": "svi", "starts": 2}, "starts: a fit to the copy"),
        ({"method": "svi", "emulator": "no"}, "emulator: expected true or false, got 'no'"),
        ({"method": "svii"}, "unknown method 'svii'; did you mean 'svi'"),
        ({"method": "auto", "guide": "iaf"}, "guide is a setting of method svi, and this fit is by auto"),
        ({"seed": -1}, "seed: expected a whole number from 0 to 9223372036854775807, got -1"),
        ({"method": "svi", "steps": 2**31}, "^steps: expected a whole number of at most 2147483647, got 2147483648$"),
        ({"method": "svi", "steps": 10**400}, "^steps: expected .* at most 2147483647, got one of 401 digits$"),
        (
            {"method": "svi", "steps": -(10**400)},
            "^steps: .* of at least 1, got one of 401 digits$",
        ),
        ({"method": "nuts", "draws": 2**31}, "^draws: expected a whole number of at most 2147483647"),
        ({"method": "svi", "alpha": 10**400}, "^alpha: expected a number from 0 to 1, got one of 401 digits$"),
        ({"method": "svi", "clip": 10**400}, "^clip: expected a finite number above 0, got one of 401 digits$"),
        ({"seed": 2**63}, "seed: expected a whole number from 0 to"),
        ({"seed": 10**5000}, "seed: expected a whole number from 0 to 9223372036854775807, got one of 5001 digits"),
        ({"seed": 1.0}, "seed: expected a whole number"),
    ],
)
def test_what_is_refused(named: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings(**named)


def test_the_largest_whole_numbers_are_taken() -> None:
    settings = Settings(method="svi", steps=2**31 - 1, seed=2**63 - 1)
    assert (settings.steps, settings.seed) == (2**31 - 1, 2**63 - 1)


@pytest.mark.parametrize(
    ("n_draws", "message"),
    [
        (99, "^n_draws: expected a whole number of at least 100, got 99$"),
        (2.5e3, "^n_draws: expected a whole number of at least 100, got 2500.0$"),
        (10**400, "^n_draws: expected a whole number of at most 2147483647, got one of 401 digits$"),
    ],
)
def test_numbers_of_draws_are_checked_before_anything_else(
    n_draws: Any, message: str, tiny_model: SkyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_model, "value_and_gradient", None)  # nothing is worked out
    with pytest.raises(InputError, match=message):
        fit(tiny_model, Settings(method="laplace"), n_draws=n_draws)


def test_numbers_of_numpy_are_numbers() -> None:
    settings = Settings(method="svi", emulator=False, steps=np.int64(7), alpha=np.float32(0.5), seed=np.uint8(3))
    assert settings == Settings(method="svi", emulator=False, steps=7, alpha=0.5, seed=3)
    assert type(settings.steps) is int
    assert hash(settings) == hash(Settings(method="svi", emulator=False, steps=7, alpha=0.5, seed=3))
    assert pickle.loads(pickle.dumps(settings)) == settings  # as they go to workers


def test_settings_cannot_be_changed() -> None:
    settings = Settings()
    with pytest.raises(AttributeError):
        settings.method = "nuts"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="no 'chains'"):
        _ = settings.chains


class Wide(Guide):
    """Normals twice as wide as the frame says, and half of that: a guide of somebody else's."""

    name = "wide"
    learning_rate = 0.01

    @staticmethod
    def build(size: int) -> Family:
        import jax
        import jax.numpy as jnp

        from gammasky.engine.infer.guides.frame import log_normal

        def sample(parameters: Any, frame: Any, key: Any) -> Any:
            u = jax.random.normal(key, (size,))
            x = frame["centre"] + jnp.exp(parameters) * (frame["scale_tril"] @ u)
            return x, log_normal(u) - size * parameters - jnp.sum(jnp.log(jnp.diag(frame["scale_tril"])))

        return Family(lambda _frame, _key: jnp.log(2.0), sample)


class Twice(Method):
    """The Laplace approximation with so many times the draws: a method of somebody else's."""

    name, summary = "twice", "seconds"
    work = METHODS["laplace"].work
    options: ClassVar = {"times": Option(2, "times as many draws", int, low=1, high=5)}
    citations = (Citation("more draws", "@misc{Twice2030,\n  title = {Twice}\n}"),)

    @classmethod
    def stage(cls, options: Any) -> Any:
        class Stage(super().stage(options)):  # type: ignore[misc]
            name = cls.name

            def finish(self) -> Any:
                self.n_draws *= self.settings.times
                return replace(super().finish(), verdict=cls.verdict(self.settings.times))

        return Stage

    @staticmethod
    def verdict(times: int) -> Verdict:
        return judged({"times": times}, [], ["nobody has looked at it"], "", {"times": times + 1})

    @staticmethod
    def gradients(options: Any) -> int:  # noqa: ARG004
        return 0


def test_a_guide_and_a_method_from_outside(tiny_model: SkyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GUIDES, Wide.name, Wide)
    monkeypatch.setitem(METHODS, Twice.name, Twice)
    found = fit(tiny_model, Settings(method="svi", emulator=False, guide="wide", steps=200), n_draws=100)
    assert found.elbo[-20:].mean() > found.elbo[:5].mean()  # it has narrowed
    found = fit(tiny_model, Settings(method="twice", times=3), n_draws=100)
    assert found.method == "twice"
    assert len(found.z) == 300
    assert found.verdict.reasons == ("nobody has looked at it",)
    assert [work.key for work in works_of_methods(["twice"])] == ["Twice2030"]
    with pytest.raises(InputError, match="times: expected a whole number from 1 to 5, got 6"):
        Settings(method="twice", times=6)
