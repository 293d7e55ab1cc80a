"""Random NPTF problems, and their exact solution with 50 digits, which take nothing from `engine`; the backends."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import jax
import mpmath
import numpy as np
import pytest
from scipy.stats import poisson

from gammasky.engine.errors import InputError
from gammasky.engine.kernels import callbacks, gpu
from tests.conftest import absent
from tests.engine.kernels.host.fake_cupy import STREAM, FakeCupy, build_on_host


class Problem(NamedTuple):
    """counts (P,), region (P,), n_regions; mean (P,), templates (I, P), x (I, R, M + 1)."""

    counts: np.ndarray
    region: np.ndarray
    n_regions: int
    mean: np.ndarray
    templates: np.ndarray
    x: np.ndarray

    @property
    def point(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.mean, self.templates, self.x


class Exact(NamedTuple):
    """log_p and q_0 .. q_k of one pixel, and ratio[m] = q_{k-m} / q_k."""

    log_p: Any
    q: list[Any]
    ratio: list[Any]


def random_problem(
    seed: int,
    counts: Any,
    *,
    populations: int = 2,
    regions: int = 2,
    mean: float = 1.0,
    slope: float = 1.8,
    spread: bool = True,
    brightness: float = 1.0,
) -> Problem:
    """Source counts dN/dS ~ S^-slope on 0.1 .. 100, with all photons in one pixel or spread over several."""
    rng = np.random.default_rng(seed)
    counts = np.asarray(counts, dtype=np.int64)
    fractions, weights = ([0.05, 0.3, 0.8], [4.0, 1.0, 0.6]) if spread else ([1.0], [1.0])
    s = np.geomspace(0.1, 100.0, 30)
    step = np.gradient(s)
    x = np.empty((populations, regions, max(counts.max(initial=1), 1) + 3))
    for i in range(populations):
        sources = s ** -(slope + 0.3 * i) * step
        sources *= brightness * rng.uniform(0.3, 2.0) / (sources * s).sum()
        for r in range(regions):
            photons = np.outer(fractions, s) * (0.9 + 0.1 * r)
            pmf = poisson.pmf(np.arange(x.shape[2])[:, None, None], photons)
            x[i, r] = np.einsum("f,mfs,s->m", weights, pmf, sources)
            x[i, r, 0] = np.einsum("f,fs,s->", weights, np.expm1(-photons), sources)
    means = mean * rng.lognormal(0.0, 0.3, counts.size)
    templates = rng.lognormal(0.0, 0.4, (populations, counts.size))
    return Problem(counts, rng.integers(0, regions, counts.size), regions, means, templates, x)


def exact_pixel(problem: Problem, pixel: int) -> Exact:
    """The recursion of one pixel in 50 digits, from the floats as they are."""
    with mpmath.workdps(50):
        k, x = int(problem.counts[pixel]), problem.x[:, problem.region[pixel]]
        factors = [mpmath.mpf(float(t)) for t in problem.templates[:, pixel]]
        mean = mpmath.mpf(float(problem.mean[pixel]))
        terms = [mpmath.fdot(factors, [float(value) for value in x[:, m]]) for m in range(max(k, 1) + 1)]
        terms[0] -= mean
        terms[1] += mean
        weighted = [m * term for m, term in enumerate(terms)]
        q = [mpmath.mpf(1)]
        for n in range(1, k + 1):
            q.append(mpmath.fdot(weighted[1 : n + 1], q[n - 1 :: -1] if n > 1 else q[:1]) / n)
        ratio = [q[k - m] / q[k] if q[k] else mpmath.nan for m in range(k + 1)]
        return Exact(terms[0] + (mpmath.log(q[k]) if q[k] else -mpmath.inf), q, ratio)


def exact_gradient(problem: Problem, pixels: list[Exact]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradient of the sum of log p by mean, templates and x, entry by entry."""
    d_mean, d_templates = np.empty_like(problem.mean), np.empty_like(problem.templates)
    d_x = np.full(problem.x.shape, mpmath.mpf(0), dtype=object)
    with mpmath.workdps(50):
        for p, exact in enumerate(pixels):
            k, r = len(exact.ratio) - 1, problem.region[p]
            d_mean[p] = float((exact.ratio[1] if k > 0 else 0) - 1)
            slope = [mpmath.mpf(1), *exact.ratio[1:]]
            for i in range(len(problem.x)):
                d_templates[i, p] = float(mpmath.fdot(slope, [float(v) for v in problem.x[i, r, : k + 1]]))
                for m in range(k + 1):
                    d_x[i, r, m] += slope[m] * float(problem.templates[i, p])
    return d_mean, d_templates, np.array(d_x, dtype=np.float64)


@pytest.fixture(scope="session")
def make_problem() -> Callable[..., Problem]:
    return random_problem


@pytest.fixture(scope="session")
def solve_exactly() -> Callable[[Problem], list[Exact]]:
    return lambda problem: [exact_pixel(problem, pixel) for pixel in range(problem.counts.size)]


@pytest.fixture(scope="session")
def differentiate_exactly() -> Callable[[Problem, list[Exact]], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    return exact_gradient


@pytest.fixture(scope="session")
def host_library(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """The CUDA source of a family, compiled for the host when it is first asked for."""
    if shutil.which("g++") is None:
        pytest.skip("g++ not found: it compiles the CUDA sources for the host")
    folder = tmp_path_factory.mktemp("host")
    return cache(lambda family: build_on_host(family, folder))


@pytest.fixture
def cupy(host_library: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCupy]:
    """The CUDA backend without a GPU: JAX's buffers on the CPU go to the host build of the kernels."""
    fake = FakeCupy(host_library)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(callbacks, "platform", lambda: "gpu")
    monkeypatch.setattr(callbacks, "_stream", lambda _context: STREAM)
    monkeypatch.setattr(gpu, "place", lambda _buffer: 0 if callbacks.platform() == "gpu" else None)
    monkeypatch.setattr(gpu, "view", lambda module, buffer, _device: module.asarray(buffer))
    with jax.default_device(jax.devices("cpu")[0]):  # where there is a GPU, too
        yield fake


@pytest.fixture(scope="session")
def cuda_device() -> str:
    """A real device in words; what needs one is skipped without."""
    try:
        callbacks.choose("cuda")
    except InputError as error:
        absent(f"CUDA device ({error})", "GAMMASKY_REQUIRE_GPU")
    return gpu.description()


@pytest.fixture(params=["numba", "reference", "cuda"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda":
        request.getfixturevalue("cupy")
    return str(request.param)
