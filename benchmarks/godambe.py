"""How long the Godambe information of a model takes, and what it says: seconds of wall and processor, errors by axis.

    python benchmarks/godambe.py [MODEL] [DATA] [--skies N] [--seeds 0 1]

The best point is that of the Laplace approximation. Compilation is in the first seed's time.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import gammasky
from gammasky.engine.infer.godambe import godambe
from gammasky.engine.infer.optimise import laplace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="fiducial")
    parser.add_argument("data", nargs="?", default="fermi")
    parser.add_argument("--skies", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    gammasky.configure()
    model = gammasky.SkyModel(options.model, gammasky.Dataset.open(options.data))
    best = laplace(model, seed=0).mode
    factors = []
    for seed in options.seeds:
        wall, processor = time.perf_counter(), time.process_time()
        found = godambe(model, best, skies=options.skies, seed=seed)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        factors.append(found.factors)
        print(
            f"seed {seed}: {options.skies} skies, {wall:.1f} s, {processor:.1f} s of the processor; "
            f"power {found.power:.3f}, noise {100 * found.noise:.1f} %"
        )
    print("errors of the latent coordinates, honest over plain, by seed:")
    for name, row in zip(model.latent.names, np.transpose(factors), strict=True):
        print(f"{name:32s}" + "".join(f"{factor:8.3f}" for factor in row))


if __name__ == "__main__":
    main()
