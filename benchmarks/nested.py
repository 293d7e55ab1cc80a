"""Are p-values of tests of nested models uniform under the null? `python benchmarks/nested.py [--tests] [--skies]`.

The null is S_gce = 0 of the preset `calibration` (6 parameters, on the data set `demo`), at one true point. Each test
is of a simulated sky that is treated as an observed one. Its p-value comes from skies of that same truth, one
distribution for all tests: skies of each fitted null would cost 200 times as much; `--own N` does that for N tests.
Where the best norm is 0, in about half of the skies, TS is 0 and the p-value 1: among such ties the rank is random, so
that p-values can be uniform. Chi-square has no skies to be a rank among; its p-values are as they are used.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from scipy.stats import chi2, kstest

import gammasky
from gammasky.engine.infer.maximum.climbs import theta_of
from gammasky.engine.infer.maximum.likelihood_ratio import likelihood_ratio
from gammasky.engine.infer.maximum.null import Null, read_null
from gammasky.engine.model.simulate import LikelihoodSimulator

TRUTH = {"S_dif": 8.0, "S_gce": 0.0, "Sps_gce": 1.5, "n1": 4.0, "n2": 0.5, "sb": 15.0}
LEVELS = (0.01, 0.05, 0.1, 0.25)


def statistics(model: gammasky.SkyModel, null: Null, point: dict, n: int, seed: int, *, near: bool) -> list:
    """Comparisons of n skies of a point; `near`: one of the climbs starts at that point."""
    simulator, found = LikelihoodSimulator(model), []
    start = null.plane.nearest(model.latent.to_box(point)) if near else None
    theta = {name: jnp.asarray(value) for name, value in point.items()}
    for number in range(n):
        sky = model.with_counts(simulator.draw(theta, seed=seed, first=number)[0])
        found.append(likelihood_ratio(sky, null.plane, null.full, seed + number, near=start, loose=null.loose_axes))
    return found


def ranks(observed: np.ndarray, simulated: np.ndarray, seed: int) -> np.ndarray:
    """p-values (n,) by rank among the simulated ones, at random among equal ones."""
    larger = (simulated > observed[:, None]).sum(axis=1)
    equal = (simulated == observed[:, None]).sum(axis=1) + 1
    return (larger + np.random.default_rng(seed).uniform(size=observed.size) * equal) / (simulated.shape[-1] + 1)


def row(name: str, p: np.ndarray) -> str:
    shares = " | ".join(f"{(p <= level).mean():.3f}" for level in LEVELS)
    return f"| {name} | {len(p)} | {kstest(p, 'uniform').pvalue:.2g} | {shares} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("tests", 200), ("skies", 1000), ("own", 0), ("own-skies", 100), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, help="A JSON file for all numbers.")
    asked = parser.parse_args()
    gammasky.configure()
    model = gammasky.SkyModel("calibration", gammasky.Dataset.open("demo"))
    null = read_null(["S_gce = 0"], model)
    began = time.monotonic()
    tests = statistics(model, null, TRUTH, asked.tests, 10_000_000 + asked.seed, near=False)
    skies = statistics(model, null, TRUTH, asked.skies, asked.seed, near=True)
    seconds = (time.monotonic() - began) / (asked.tests + asked.skies)
    observed, simulated = (np.array([one.ts for one in found]) for found in (tests, skies))
    p = {
        "simulated skies": ranks(observed, np.tile(simulated, (asked.tests, 1)), asked.seed),
        "simulated skies, ties count in full": (1 + (simulated >= observed[:, None]).sum(axis=1)) / (asked.skies + 1),
        "chi-square, 1 degree": chi2.sf(observed, 1),
        "half of chi-square": np.where(observed > 0, 0.5 * chi2.sf(observed, 1), 1.0),
    }
    if asked.own:
        own = np.empty((asked.own, asked.own_skies))
        for number, test in enumerate(tests[: asked.own]):
            found = statistics(model, null, theta_of(model, test.null.x), asked.own_skies, number, near=True)
            own[number] = [one.ts for one in found]
        p["skies of each fitted null"] = ranks(observed[: asked.own], own, asked.seed)
        p["the same tests, skies of the truth"] = p["simulated skies"][: asked.own]
    print(f"TS = 0 in {(observed == 0).mean():.2f} of the tests, {(simulated == 0).mean():.2f} of the skies; "
          f"{seconds:.2f} s a sky")  # fmt: skip
    print(f"\n| p-values from | tests | KS p | {' | '.join(f'p <= {level:g}' for level in LEVELS)} |")
    print(f"| --- | ---: | ---: |{' ---: |' * len(LEVELS)}")
    for name, values in p.items():
        print(row(name, values))
    if asked.out:
        found = {"observed": observed.tolist(), "simulated": simulated.tolist(), "truth": TRUTH}
        asked.out.write_text(json.dumps({**found, "p": {name: list(map(float, of)) for name, of in p.items()}}))


if __name__ == "__main__":
    main()
