"""What a method makes of a model, seed by seed: cost, time, verdict, checks, log Z and the numbers that are quoted.

    python benchmarks/posterior.py [PRESET] [DATASET] [--method METHOD] [--guide GUIDE] [--seeds 0 1 2] [--quiet]

One row for each seed, then medians. Times are those of a fit, with the compilation of what an earlier row has not
compiled; the split by kind of work is given where the method knows it.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from gammasky import Dataset, Settings, SkyModel, configure, fit
from gammasky.engine.infer.importance import weighted_quantiles
from gammasky.engine.infer.result import Fit, marginals

SHOWN = ("f_bulge_ps", "PS fraction (gce)")


def row(model: SkyModel, result: Fit, seconds: float) -> str:
    found = result.diagnostics
    weights = result.weights.weights if result.weights else np.full(len(result.z), 1 / len(result.z))
    parts = [f"{seconds:.0f} s", f"{found.get('gradients', 0)} gradients", result.verdict.level]
    for name, text in (("efficiency", "efficiency {:.2f}"), ("k_hat", "k-hat {:.2f}"), ("coverage", "coverage {:+.3f}"),
                       ("missed", "missed {:.1%}"), ("guide_coverage", "coverage by the guide {:+.3f}"),
                       ("guide_missed", "missed by the guide {:.1%}"),
                       ("r_hat_max", "R-hat {:.4f}"), ("ess_tail_min", "tail ESS {:.0f}"),
                       ("log_z", "log Z {:.3f}"), ("log_z_error", "+- {:.3f}")):  # fmt: skip
        if name in found:
            parts.append(text.format(found[name]))
    numbers = marginals(model, result.derived)
    for name in SHOWN:
        if name in numbers:
            low, middle, high = weighted_quantiles(numbers[name], weights, (0.05, 0.5, 0.95))
            parts.append(f"{name} {low:.3f}/{middle:.3f}/{high:.3f}, above 0.6 {weights @ (numbers[name] > 0.6):.3f}")
    if "spent" in found:
        parts.append(", ".join(f"{kind} {spent:.0f} s" for kind, spent in found["spent"].items()))
    if result.verdict.level != "reliable":
        parts.append(result.verdict.reasons[0])
    return "; ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", default="fiducial")
    parser.add_argument("dataset", nargs="?", default="fermi")
    parser.add_argument("--method", default="emulator")
    parser.add_argument("--guide", help="of method svi")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args()
    configure()
    model = SkyModel(options.preset, Dataset.open(options.dataset))
    times, costs, reliable = [], [], 0
    for seed in options.seeds:
        began = time.perf_counter()
        settings = Settings(method=options.method, seed=seed, guide=options.guide)
        result = fit(model, settings, quiet=options.quiet)
        times.append(time.perf_counter() - began)
        costs.append(result.diagnostics.get("gradients", 0))
        reliable += result.verdict.level == "reliable"
        print(f"{options.preset} {options.method} {seed}: {row(model, result, times[-1])}", flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{reliable} of {len(times)} reliable; medians {np.median(times):.0f} s, {np.median(costs):.0f} gradients; "
        f"peak memory {memory:.1f} GiB"
    )


if __name__ == "__main__":
    main()
