"""Time of simulated skies of the fiducial model: `python benchmarks/simulate.py [skies] [data]`; see README.md."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gammasky
from gammasky.engine.kernels.threads import thread_count
from gammasky.engine.model.simulate import SIMULATORS

#: a point like the posterior of the Fermi data; what is not named lies at its prior median
POINT = {
    "S_pib": 11.2, "S_ics": 6.0, "S_iso": 0.4, "S_bub": 1.3, "S_psc": 2.0, "S_gce": 0.3, "Sps_gce": 1.5,
    "Sps_dsk": 0.6, "zs": 0.3, "C": 3.5, "gamma_ps": 0.9,
}  # fmt: skip


def main(skies: int, data: str) -> None:
    """Print one row for each simulator: set-up, first sky (compilation), and `skies` skies on all threads."""
    gammasky.configure()
    model = gammasky.SkyModel("fiducial", gammasky.Dataset.open(data))
    median = model.parameters(np.zeros(model.n_latent))
    point = model.point({name: POINT.get(name, np.asarray(value)) for name, value in median.items()})
    print(f"| simulator | set-up [s] | first sky [s] | {skies} skies [s] | ms per sky | photons per sky | threads |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, build in SIMULATORS.items():
        set_up, simulator = _timed(lambda build=build: build(model))
        first, _ = _timed(lambda simulator=simulator: simulator.draw(point, n=1))
        all_skies, counts = _timed(lambda simulator=simulator: simulator.draw(point, n=skies, seed=1))
        numbers = f"{set_up:.2f} | {first:.2f} | {all_skies:.2f} | {1e3 * all_skies / skies:.2f}"
        photons = counts[:, : model.pixels.n_fit].sum(axis=1).mean()
        print(f"| {name} | {numbers} | {photons:.0f} | {thread_count()} |", flush=True)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, sys.argv[2] if len(sys.argv) > 2 else "fermi")
