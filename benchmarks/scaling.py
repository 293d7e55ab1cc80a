"""How the NPTF operation grows on a CPU: value and gradient against pixels, counts and points; see README.md beside it.

    python benchmarks/scaling.py [--json] [--largest PIXELS] [--figure docs/figures/scaling.png]

Two populations, seven regions; one axis is varied at a time, from 6,839 pixels of some 20 counts at 8 points. Times are
medians of calls of a compiled program, memory is what XLA gives it for arguments, results and room to work in, and the
kernel's own partial sums. The least that the recursion needs is k (k + 1) / 2 multiply-adds for a count k. The figure
draws the time that they would take at the rate of a product of matrices on the same cores, which nothing can beat.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
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
    each = 1e6 * milliseconds / max(work, 1.0)
    return {"ms": milliseconds, "MB": bytes_of / 1e6, "multiply-adds": work, "ns for each multiply-add": each}


def fastest() -> float:
    """Multiply-adds a nanosecond of a product of matrices, on all cores that the kernels use."""
    import jax
    import jax.numpy as jnp

    n = 2000
    a = jnp.asarray(np.random.default_rng(0).uniform(size=(n, n)))
    product = jax.jit(lambda a: a @ a)
    times = []
    for _ in range(6):  # the first one compiles
        start = time.perf_counter()
        jax.block_until_ready(product(a))
        times.append(time.perf_counter() - start)
    return n**3 / (1e9 * min(times))


def draw(rows: list[dict[str, float]], rate: float, path: Path) -> None:
    """Time and memory along each axis, and the least time."""
    from matplotlib.figure import Figure

    from gammasky.engine.infer.figures.style import COLOURS, GREY, save, styled

    with styled():
        figure = Figure(figsize=(10.5, 3.8), layout="constrained")
        for panel, axis in zip(figure.subplots(1, len(AXES), sharey=True), AXES, strict=True):
            along = [row for row in rows if row["axis"] == axis and "ms" in row]
            for few in (False, True):  # of as many pixels: only those compare
                alike = [row for row in along if (row["pixels"] == FEW) == few]
                x, hidden = [row[axis] for row in alike], "_" if few else ""  # one legend for both
                least = [1e-6 * row["multiply-adds"] / rate for row in alike]
                panel.loglog(x, [row["ms"] for row in alike], "o-", color=COLOURS[0], label=f"{hidden}time [ms]")
                panel.loglog(x, [row["MB"] for row in alike], "s--", color=COLOURS[1], label=f"{hidden}memory [MB]")
                panel.loglog(x, least, ":", color=GREY, label=f"{hidden}least time [ms]")
            rest = [f"{row:,} {name}" for name, row in USUAL.items() if name != axis]
            panel.set_title(", ".join(rest) + (f"; from 1,000 on {FEW} pixels" if axis == "counts" else ""), fontsize=8)
            panel.set_xlabel({"counts": "mean count of a pixel"}.get(axis, axis))
        figure.axes[0].set_ylabel("ms, MB")
        figure.axes[0].set_ylim(bottom=1e-3)
        figure.axes[0].legend(fontsize=8)
        save(figure, path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--largest", type=int, default=1_000_000, help="most pixels")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--figure", type=Path)
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
            rows.append({"axis": axis, **sizes, **(case(**sizes) or {})})
    if given.figure:
        draw(rows, fastest(), given.figure)
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
