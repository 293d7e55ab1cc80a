"""A batch that a GPU has no memory for is refused before anything runs; what GPUs say is pretended."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.cli import main
from gammasky.engine.errors import InputError
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.stages.stage import Stage
from gammasky.engine.infer.svi import VariationalFit
from gammasky.engine.kernels import callbacks
from gammasky.engine.memory import GIB, require_memory
from gammasky.engine.model import SkyModel
from gammasky.engine.model.programs import Programs

pytestmark = pytest.mark.usefixtures("compiled_fast")


def needed(n: int) -> int:
    return (1 + 2 * n) * GIB


def pretend(monkeypatch: pytest.MonkeyPatch, bytes_: float | None) -> None:
    monkeypatch.setattr(callbacks, "memory", lambda: None if bytes_ is None else int(bytes_))


@pytest.mark.parametrize(("has", "most"), [(20.9, 9), (13, 6), (12.9, 5), (3, 1)])
def test_as_many_as_there_is_memory_for(has: float, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, has * GIB)
    require_memory("particles", most, needed)
    words = f"expected at most {most}, for which the {has:.3g} GiB .* got 10, which need 21 GiB; ask for fewer$"
    with pytest.raises(InputError, match=words):
        require_memory("particles", 10, needed)
    with pytest.raises(InputError, match=f"at most {most}, "):
        require_memory("particles", most + 1, needed)


def test_not_even_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 2 * GIB)
    with pytest.raises(InputError, match="may take 3 GiB, which one alone needs, got 2 GiB; use another GPU"):
        require_memory("particles", 1, needed)


def test_what_jax_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    assert callbacks.memory() is None  # a CPU
    monkeypatch.setattr(callbacks, "platform", lambda: "gpu")
    for stats, expected in (({"bytes_limit": 7, "bytes_in_use": 1}, 7), (None, None), ({}, None)):
        device = type("Device", (), {"memory_stats": lambda _, stats=stats: stats})()
        monkeypatch.setattr(callbacks, "_device", lambda device=device: device)
        assert callbacks.memory() == expected


@pytest.mark.usefixtures("tiny")
def test_particles_of_a_fit(
    tiny_model: SkyModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused before the best point is looked for."""
    fit = VariationalFit(tiny_model, Settings(method="svi", emulator=False, guide="diagonal", particles=64))
    one, many = fit._memory(1), fit._memory(64)
    assert many - one > 63 * 8 * tiny_model.n_latent  # each has its draw at the least
    pretend(monkeypatch, one + 20.5 * (many - one) / 63)

    def begun(*_: Any) -> None:
        raise AssertionError("the fit has begun")

    monkeypatch.setattr(Stage, "begin", begun)
    settings = "--method svi --no-emulator --guide diagonal --particles 64"
    assert main(f"fit model.toml --data sky/dataset.toml {settings} --out out".split()) == 2
    assert "particles: expected at most 21, for which" in capsys.readouterr().err.splitlines()[-1]
    pretend(monkeypatch, many)
    fit.require_memory()


def test_members_side_by_side(tiny_model: SkyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before the first of their programs runs; what is not gathered is not looked at."""
    z = np.zeros((2, tiny_model.n_latent))
    models = [tiny_model.with_counts(tiny_model.pixels.counts) for _ in range(2)]
    for model, programs in zip(models, (Programs(8), Programs()), strict=True):
        model.share(programs)
    pretend(monkeypatch, 1)
    with pytest.raises(InputError, match="members side by side: expected a GPU of whose memory"):
        models[0].value_and_gradient(z)
    assert models[0].programs.gathering.calls == 0
    expected = models[1].value_and_gradient(z)
    pretend(monkeypatch, GIB)
    for found, alone in zip(models[0].value_and_gradient(jnp.asarray(z)), expected, strict=True):
        np.testing.assert_allclose(found, alone, rtol=1e-12)
