"""The table of docs/inference.md: what each method costs and finds, for some models, as rows of Markdown.

    python benchmarks/methods.py [--models fiducial ...] [--data fermi] [--methods emulator ...] [--draws 1500]

The reference of a model are 4 chains of `--draws` draws by nuts, from another seed than the other fits. *Worst error*
is the largest difference between a mean and that of the reference, over all numbers that are quoted, in standard
deviations of the reference, and the sd ratios are the smallest and the largest of them all; draws are weighted where
the method weights them. Time is that of the processor, all cores
together, with compilation: it hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from gammasky import Dataset, Settings, SkyModel, configure, fit
from gammasky.engine.infer.result import Fit, marginals, quoted

METHODS = {
    "laplace": Settings(method="laplace"),
    "emulator": Settings(method="emulator"),
    "svi": Settings(method="svi"),
    "svi, iaf": Settings(method="svi", guide="iaf"),
    "svi, direct": Settings(method="svi", emulator=False),
}
MODELS = ("fiducial", "gce_flows", "nptfit_galactic_centre", "calibration")
HEAD = "| method | CPU [s] | gradients | ESS | k-hat | worst error [sd] | sd ratios | log Z | verdict |"

RULE = "| --- | ---: | ---: | ---: | ---: | --- | --- | ---: | --- |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--data", default="fermi")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--draws", type=int, default=1500, help="of each chain of the reference")
    options = parser.parse_args()
    configure()
    for name in options.models:
        model = SkyModel(name, Dataset.open(options.data))
        print(f"\n`{name}`, {model.n_latent} parameters\n\n{HEAD}\n{RULE}")
        reference, seconds = _timed(model, Settings(method="nuts", seed=1, draws=options.draws))
        numbers = quoted(model, marginals(model, reference.derived))
        _row(model, f"nuts, 4 x {options.draws} (reference)", reference, seconds, numbers)
        for method in options.methods:
            _row(model, method, *_timed(model, METHODS[method]), numbers)


def _timed(model: SkyModel, settings: Settings) -> tuple[Fit, float]:
    began = time.process_time()
    found = fit(model, settings, quiet=True)
    return found, time.process_time() - began


def _row(model: SkyModel, method: str, found: Fit, seconds: float, reference: dict[str, np.ndarray]) -> None:
    told = found.diagnostics
    weights = found.weights.weights if found.weights else np.full(len(found.z), 1 / len(found.z))
    errors, ratios = {}, []
    for name, draws in quoted(model, marginals(model, found.derived)).items():
        mean = weights @ draws
        errors[name] = float((mean - reference[name].mean()) / reference[name].std())
        ratios.append(float(np.sqrt(weights @ (draws - mean) ** 2) / reference[name].std()))
    worst = max(errors, key=lambda name: abs(errors[name]))
    ess = found.weights.ess if found.weights else min(told["ess_bulk_min"], told["ess_tail_min"])
    cells = [
        method,
        f"{seconds:.0f}",
        f"{told['gradients']:,}" if "gradients" in told else "",
        f"{ess:,.0f}",
        f"{told['k_hat']:.2f}" if "k_hat" in told else "",
        f"{errors[worst]:+.2f} ({worst})" if found.method != "nuts" else "",
        f"{min(ratios):.2f}-{max(ratios):.2f}" if found.method != "nuts" else "",
        f"{told['log_z']:.2f} ± {told['log_z_error']:.2f}" if "log_z" in told else "",
        found.verdict.level,
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
