"""How the NPTF operation grows on a CPU: value and gradient against pixels, counts and points; see README.md beside it.

    python benchmarks/scaling.py [--json] [--largest PIXELS]

Two populations, seven regions; one axis is varied at a time, from 6,839 pixels of some 20 counts at 8 points. Times are
medians of calls of a compiled program, memory is what XLA gives it for arguments, results and room to work in, and the
kernel's own partial sums. The least that the recursion needs is k (k + 1) / 2 multiply-adds for a count k.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

REGIONS, POPULATIONS, USUAL = 7, 2, {"pixels": 6839, "counts": 20, "points": 8}
AXES = {
    "pixels": [1_000, 10_000, 100_000, 1_000_000],
    "counts": [1, 10, 100, 1_000, 10_000],
    "points": [1, 8, 64, 512],
}
MEASURED = ("ms", "MB", "ns for each multiply-add")
FEW = 64  # pixels, where counts are large
SECONDS = 2.0  # of calls for a median, at most
MOST = 3e11  # multiply-adds of a case


def case(pixels: int, counts: int, points: int) -> dict[str, float] | None:
    """Time and memory of a case; None where it would take too long."""
    import jax
    import jax.numpy as jnp

    from gammasky.engine.kernels.nptf.op import total_log_likelihood
    from gammasky.engine.kernels.nptf.plan import CHUNKS, PixelPlan

    rng = np.random.default_rng(0)
    seen = rng.poisson(counts, pixels)
    work = points * float((seen * (seen + 1.0) / 2).sum())
    if work > MOST:
        return None
    m = np.arange(1, seen.max(initial=1) + 1)
    sources = 0.4 * counts * m**-1.8 / (m**-0.8).sum()
    x = np.broadcast_to(np.concatenate([[-sources.sum()], sources]) / POPULATIONS, (POPULATIONS, REGIONS, m.size + 1))
    plan = PixelPlan.build(seen, rng.integers(0, REGIONS, pixels), REGIONS)
    factors = rng.uniform(0.9, 1.1, (points, 1))
    point = (
        jnp.asarray(0.6 * counts * factors * np.ones(pixels)),
        jnp.asarray(factors[..., None] * np.ones((POPULATIONS, pixels))),
        jnp.asarray(factors[..., None, None] * x),
    )
    both = jax.vmap(jax.value_and_grad(lambda *p: total_log_likelihood(plan, *p), (0, 1, 2)))
    compiled = jax.jit(both).lower(*point).compile()
    taken: Any = compiled.memory_analysis()
    bytes_of = taken.argument_size_in_bytes + taken.output_size_in_bytes + taken.temp_size_in_bytes
    bytes_of += 8 * CHUNKS * points * x.size
    jax.block_until_ready(compiled(*point))  # Numba's kernels are compiled or read
    times: list[float] = []
    while sum(times) < SECONDS and len(times) < 20:
        start = time.perf_counter()
        jax.block_until_ready(compiled(*point))
        times.append(time.perf_counter() - start)
    milliseconds = 1e3 * float(np.median(times))
    return {"ms": milliseconds, "MB": bytes_of / 1e6, "ns for each multiply-add": 1e6 * milliseconds / max(work, 1.0)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--largest", type=int, default=1_000_000, help="most pixels")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    import gammasky

    gammasky.configure()
    rows = []
    for axis, values in AXES.items():
        for value in values:
            if axis == "pixels" and value > given.largest:
                continue
            sizes = {**USUAL, axis: value}
            if axis == "counts" and value >= 1000:
                sizes["pixels"] = FEW
            rows.append({**sizes, **(case(**sizes) or {})})
    if given.json:
        print(json.dumps(rows))
        return
    print("| pixels | mean count | points | time [ms] | memory [MB] | ns for each multiply-add of the recursion |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        known = [f"{row[name]:.3g}" if name in row else "-" for name in MEASURED]
        print(f"| {row['pixels']:,} | {row['counts']:,} | {row['points']} | {' | '.join(known)} |")


if __name__ == "__main__":
    main()
