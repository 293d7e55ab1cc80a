"""Guides: densities that integrate, start at the Laplace approximation, and are chosen by name."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gammasky.engine.infer.copy_fit import CopyFit
from gammasky.engine.infer.emulator.target import Target
from gammasky.engine.infer.guides import GUIDES
from gammasky.engine.infer.guides.frame import frame_of
from gammasky.engine.infer.guides.guide import Frame
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.svi import VariationalFit
from gammasky.engine.model import SkyModel

pytestmark = pytest.mark.usefixtures("compiled_fast")  # most of the time is compilation
SIZE = 4


@pytest.fixture(scope="module")
def start() -> Frame:
    rng = np.random.default_rng(5)
    factor = 0.3 * rng.standard_normal((SIZE, SIZE))
    return frame_of(rng.standard_normal(SIZE), factor @ factor.T + 0.2 * np.eye(SIZE))


@pytest.mark.parametrize("name", sorted(GUIDES))
def test_density_is_that_of_the_map_from_noise(name: str, start: Frame) -> None:
    """log q = log N(u) - log |dz/du|, with the Jacobian by finite differences of the draw in its noise."""
    guide = GUIDES[name].build(SIZE)
    key = jax.random.key(3)
    parameters = jax.tree.map(
        lambda leaf: leaf + 0.05 * jax.random.normal(key, leaf.shape), guide.init(start, jax.random.key(0))
    )
    draw_key = jax.random.key(7)
    u = np.asarray(jax.random.normal(draw_key, (SIZE,)))
    z, log_q = jax.jit(guide.sample)(parameters, start, draw_key)

    @jax.jit
    def from_noise(noise: jax.Array) -> jax.Array:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jax.random, "normal", lambda *_args, **_kwargs: noise)
            return guide.sample(parameters, start, draw_key)[0]

    step = 1e-6
    jacobian = np.stack(
        [(from_noise(u + step * e) - from_noise(u - step * e)) / (2 * step) for e in np.eye(SIZE)], axis=1
    )
    expected = -0.5 * u @ u - 0.5 * SIZE * np.log(2 * np.pi) - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(float(log_q), expected, atol=1e-7)
    np.testing.assert_allclose(np.asarray(z), from_noise(u))


@pytest.mark.parametrize(("name", "tolerance"), [("iaf", 0.03), ("flow", 0.03), ("mvn", 1e-12)])
def test_starts_at_the_laplace_approximation(name: str, tolerance: float, start: Frame) -> None:
    guide = GUIDES[name].build(SIZE)
    parameters = guide.init(start, jax.random.key(1))
    precision = np.linalg.inv(start["scale_tril"] @ start["scale_tril"].T)
    sample = jax.jit(guide.sample)
    for key in jax.random.split(jax.random.key(2), 20):
        z, log_q = sample(parameters, start, key)
        offset = np.asarray(z) - start["centre"]
        log_normal = -0.5 * offset @ precision @ offset + 0.5 * np.linalg.slogdet(precision / (2 * np.pi))[1]
        assert abs(float(log_q) - log_normal) < tolerance * (1 + abs(log_normal))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_density_at_a_point_is_that_of_the_draw(size: int) -> None:
    guide, frame = GUIDES["flow"].build(size), frame_of(np.ones(size), 0.25 * np.eye(size))
    parameters = guide.init(frame, jax.random.key(0))
    parameters = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(4), leaf.shape), parameters)
    if guide.log_density is None:
        assert size == 1  # nothing to couple
        return
    sample, log_density = jax.jit(guide.sample), jax.jit(guide.log_density)
    for key in jax.random.split(jax.random.key(1), 10):
        z, log_q = sample(parameters, frame, key)
        np.testing.assert_allclose(log_density(parameters, frame, z), log_q, atol=1e-7)


def test_diagonal_starts_at_the_precision(start: Frame) -> None:
    parameters = GUIDES["diagonal"].build(SIZE).init(start, jax.random.key(0))
    precision = np.linalg.inv(start["scale_tril"] @ start["scale_tril"].T)
    np.testing.assert_allclose(np.exp(-2 * np.asarray(parameters["log_scale"])), np.diag(precision))


@pytest.mark.parametrize("name", sorted(GUIDES))
def test_what_a_guide_says_of_itself_is_so(name: str) -> None:
    assert GUIDES[name].name == name
    assert GUIDES[name].has_density == (GUIDES[name].build(SIZE).log_density is not None)


@pytest.mark.parametrize("name", ["flow", "iaf", "mvn", "diagonal"])
def test_density_at_any_cost_and_its_gradients(name: str, start: Frame) -> None:
    """At its own draws it is that of the draw; gradients in parameters and in the point, by differences."""
    guide = GUIDES[name].build(SIZE)
    assert guide.at_any_cost is not None
    parameters = guide.init(start, jax.random.key(0))
    parameters = jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), parameters
    )
    of_point = jax.jit(guide.at_any_cost)
    of_all = jax.jit(jax.grad(guide.at_any_cost, argnums=(0, 2)))
    for key in jax.random.split(jax.random.key(1), 3):
        x, log_q = jax.jit(guide.sample)(parameters, start, key)
        np.testing.assert_allclose(of_point(parameters, start, x), log_q, atol=1e-9)
        slopes = of_all(parameters, start, x)
        direction = jax.tree.map(
            lambda leaf: jax.random.normal(jax.random.key(leaf.size + 1), leaf.shape), (parameters, x)
        )
        moved = [jax.tree.map(lambda a, b, s=sign: a + s * b, (parameters, x), direction) for sign in (1e-6, -1e-6)]
        by_difference = (of_point(moved[0][0], start, moved[0][1]) - of_point(moved[1][0], start, moved[1][1])) / 2e-6
        expected = sum(
            float((a * b).sum()) for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(direction), strict=True)
        )
        np.testing.assert_allclose(by_difference, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, guide in GUIDES.items() if guide.layers])
def test_a_flow_has_as_many_layers_and_weights_as_it_is_told(name: str, start: Frame) -> None:
    def weights(*size: int) -> int:
        of_key = lambda key: GUIDES[name].build(SIZE, *size).init(start, key)  # noqa: E731
        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(of_key, jax.random.key(1))))

    usual = GUIDES[name].layers, GUIDES[name].width
    assert weights(*filter(None, usual)) == weights()
    assert weights(2, 16) - weights(1, 16) == weights(3, 16) - weights(2, 16) > 0
    assert weights(2, 32) > weights(2, 16)


def test_fits_by_flows_of_two_sizes_share_no_program(tiny_model: SkyModel) -> None:
    known = set(tiny_model.programs)
    for emulator in (True, False):
        for layers in (1, 2):
            settings = Settings(method="svi", emulator=emulator, layers=layers, width=16, steps=10)
            if emulator:
                CopyFit(Target(tiny_model), settings)
            else:
                VariationalFit(tiny_model, settings)
    new = [key for key in set(tiny_model.programs) - known if isinstance(key, tuple) and str(key[0]).startswith("svi")]
    assert len(new) == 6  # steps on the copy and without it, and draws of both
