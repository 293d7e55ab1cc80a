"""How many shells a population in space needs, and what they cost: on the preset `millisecond_pulsars`.

python benchmarks/shells.py POSTERIOR [DATA]

POSTERIOR is the file of a fit of the preset to the data. At some of its draws the log-likelihood is compared with that
of many shells, one component at a time; what all draws share changes no posterior. Then value and gradient are timed,
over those of the model `fiducial`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from in_turn import milliseconds

import gammasky
from gammasky.engine.infer.report.fit_folder import read_fit_posterior
from gammasky.engine.model.spec import ModelSpec, model_from_table, read_model

PRESET, MANY, TRIED = "millisecond_pulsars", 48, (4, 6, 8, 10, 12, 16)
DRAWS, CALLS = 24, 10


def with_shells(shells: dict[str, int]) -> ModelSpec:
    """The preset with so many shells, by component."""
    table = read_model(PRESET).model_dump(mode="json")
    for component in table["components"]:
        if component["name"] in shells:
            component["luminosity"]["shells"] = shells[component["name"]]
    return model_from_table(table)


def main() -> None:
    """Print two tables."""
    gammasky.configure()
    dataset = gammasky.Dataset.open(sys.argv[2] if len(sys.argv) > 2 else "fermi")
    posterior = read_fit_posterior(Path(sys.argv[1]))
    names = [component.name for component in posterior.spec.components if component.luminosity is not None]
    chosen = np.linspace(0, posterior.n_draws - 1, DRAWS).astype(int)
    points = [{n: jnp.asarray(posterior.draws[n][draw]) for n in posterior.spec.parameters} for draw in chosen]

    def log_likelihoods(shells: dict[str, int]) -> np.ndarray:
        model = gammasky.SkyModel(with_shells(shells), dataset)
        program = jax.jit(model.log_likelihood)
        return np.array([float(program(point, model.arrays)) for point in points])

    wanted = log_likelihoods(dict.fromkeys(names, MANY))
    print(f"log-likelihood minus that of {MANY} shells, at {DRAWS} draws of the posterior")
    print(f"{'component':>10} {'shells':>7} {'mean':>8} {'sd':>7} {'largest departure from the mean':>32}")
    for name in names:
        for count in TRIED:
            error = log_likelihoods(dict.fromkeys(names, MANY) | {name: count}) - wanted
            largest = np.abs(error - error.mean()).max()
            print(f"{name:>10} {count:7d} {error.mean():8.3f} {error.std():7.3f} {largest:32.3f}", flush=True)
    models = {"fiducial": gammasky.SkyModel("fiducial", dataset)}
    models |= {f"{n} shells": gammasky.SkyModel(with_shells(dict.fromkeys(names, n)), dataset) for n in (6, 8, 12, 16)}
    found = milliseconds(models, CALLS)
    print(f"\n{'model':>10} {'ms/point':>9} {'ratio':>6}")
    for name, middle in found.items():
        print(f"{name:>10} {middle:9.3f} {middle / found['fiducial']:6.2f}")


if __name__ == "__main__":
    main()
