"""The joint likelihood of several energy bins: `python benchmarks/joint.py [--cube FILE] [--particles 8]`.

Value and gradient of the operation, by turns with that of one bin, for the fiducial model's counts in four bins; and,
with a counts cube (HEALPix, a column for each energy bin), of the whole sky in all its bins. See README.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.bench import _point
from gammasky.engine.kernels.nptf.op import total_log_likelihood
from gammasky.engine.kernels.nptf_energy.op import total_joint_log_likelihood
from gammasky.engine.kernels.nptf_energy.plan import JointPlan
from gammasky.engine.kernels.threads import thread_count
from gammasky.engine.model import SkyModel
from gammasky.engine.runtime import configure
from gammasky.engine.sky import Response
from gammasky.engine.sky.dataset import Dataset

SEED = 0
INDEX = 2.4  # of the sources' power law; smooth emission is a little softer
EDGES = np.geomspace(2.0, 20.0, 5)  # [GeV]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="fermi", help="data set of the fiducial model")
    parser.add_argument("--cube", type=Path, help="counts cube of the whole sky, such as that of the 3FHL catalogue")
    parser.add_argument("--particles", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    configure()
    found: dict[str, Any] = {"threads": thread_count(), "particles": options.particles}
    one, joint = four_bins(options.data, options.particles)
    found |= alternately({"one_bin": one, "four_bins": joint}, options.particles, options.repeats)
    found["ratio"] = found["four_bins_ms"] / found["one_bin_ms"]
    found["cpu_ratio"] = found["four_bins_cpu_ms"] / found["one_bin_cpu_ms"]
    if options.cube is not None:
        whole = whole_sky(options.cube, options.particles)
        found |= alternately({"whole_sky": whole}, options.particles, max(options.repeats // 3, 3))
    if options.json:
        print(json.dumps(found))
        return
    print("| operation, value and gradient | ms per particle | of CPU time |\n| --- | ---: | ---: |")
    for name in ("one_bin", "four_bins", "whole_sky"):
        if f"{name}_ms" in found:
            print(f"| {name.replace('_', ' ')} | {found[f'{name}_ms']:.3f} | {found[f'{name}_cpu_ms']:.3f} |")
    print(
        f"\nfour bins over one: {found['ratio']:.2f}, of CPU time {found['cpu_ratio']:.2f}; {thread_count()} threads, "
        f"{options.particles} particles at a time"
    )


def alternately(runs: dict[str, Callable[[], Any]], particles: int, repeats: int) -> dict[str, float]:
    """Median wall time and CPU time of each run per particle [ms], one after the other in turn."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for run in runs.values():
        jax.block_until_ready(run())
    for _ in range(repeats):
        for name, run in runs.items():
            start, cpu = time.perf_counter(), time.process_time()
            jax.block_until_ready(run())
            taken[name].append((time.perf_counter() - start, time.process_time() - cpu))
    medians = {name: 1e3 * np.median(pairs, axis=0) / particles for name, pairs in taken.items()}
    return {
        f"{name}{of}": float(value)
        for name, pair in medians.items()
        for of, value in zip(("_ms", "_cpu_ms"), pair, strict=True)
    }


def compiled(total: Callable[..., jax.Array], *point: jax.Array) -> Callable[[], Any]:
    """Value and gradient of a batch of points, compiled."""
    both = jax.vmap(jax.value_and_grad(total, argnums=tuple(range(len(point)))))
    program = jax.jit(both).lower(*point).compile()
    return lambda: program(*point)


def four_bins(data: str, particles: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The operation of one bin at prior draws of the fiducial model, and of its photons shared out among four bins."""
    model = SkyModel("fiducial", Dataset.open(data))
    rng = np.random.default_rng(SEED)
    z = jnp.asarray(rng.normal(size=(particles, model.n_latent)))
    mean, templates, x = jax.jit(jax.vmap(_point(model), (None, 0)))(model.arrays, z)
    plan = model.arrays["counts"]["plans"][0]
    one = compiled(lambda *point: total_log_likelihood(plan, *point), mean, templates, x)
    sources, smooth = (shares(EDGES, index) for index in (INDEX, INDEX + 0.2))
    bins = rng.multinomial(np.asarray(plan.counts), smooth).T
    joint_plan = JointPlan.build(bins, np.asarray(plan.region), plan.n_regions)
    spectrum = jnp.broadcast_to(sources, (particles, plan.n_regions, len(sources)))
    by_bin = mean[:, None] * smooth[:, None]
    joint = compiled(lambda *point: total_joint_log_likelihood(joint_plan, *point), by_bin, templates, x, spectrum)
    return one, joint


def shares(edges: np.ndarray, index: float) -> np.ndarray:
    """Shares of the photons of a power law in bins."""
    within = edges[:-1] ** (1 - index) - edges[1:] ** (1 - index)
    return np.asarray(within / within.sum())


def whole_sky(cube: Path, particles: int) -> Callable[[], Any]:
    """Every pixel of a cube: smooth means by latitude with the cube's own spectrum, and an isotropic population."""
    import healpy
    from astropy.table import Table

    table = Table.read(cube, hdu=1)
    bins = np.stack([np.asarray(table[name], dtype=np.int64) for name in table.colnames])
    plan = JointPlan.build(bins, np.zeros(bins.shape[1], dtype=np.int64), 1)
    latitude = np.abs(healpy.pix2ang(healpy.npix2nside(bins.shape[1]), np.arange(bins.shape[1]), lonlat=True)[1])
    band = np.minimum(latitude // 2, 30).astype(np.int64)
    totals = bins.sum(axis=0)
    mean = 0.8 * (np.bincount(band, totals) / np.bincount(band))[band]
    spectrum = bins.sum(axis=1) / bins.sum()
    s = np.geomspace(0.05, 2.0 * totals.max(), 400)
    sources = np.where(s > 20.0, (s / 20.0) ** -2.5, (s / 20.0) ** -1.6)
    sources *= 0.2 * totals.mean() / np.trapezoid(s * sources, s)
    response = Response.build(s, [0.05, 0.3, 0.7], [2.0, 1.0, 0.857142857], [1.0], int(totals.max()))
    scale = np.random.default_rng(SEED).uniform(0.7, 1.4, particles)
    point = (
        scale[:, None, None] * mean * (spectrum[:, None] + 1e-6),
        np.ones((particles, 1, bins.shape[1])),
        scale[::-1, None, None, None] * (response.matrix @ sources)[None],
        np.broadcast_to(spectrum, (particles, 1, len(bins))),
    )
    return compiled(lambda *p: total_joint_log_likelihood(plan, *p), *map(jnp.asarray, point))


if __name__ == "__main__":
    main()
