"""Whether fits that call themselves reliable are right: the emulator beside long chains on simulated skies.

    python benchmarks/agreement.py [PRESET] [DATASET] [--skies 20] [--draws 1000] [--seed 0]

Truths come from the prior, counts from the likelihood's own distribution. Of all numbers that are quoted each row gives
the largest difference of means, in standard deviations, and the largest difference of the mass beyond the 5 and 95 %
quantiles. A false *reliable* differs by 0.3 sd or by 0.1 in a tail. Only the first sky compiles.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from gammasky import Settings, configure, fit
from gammasky.analyses.calibration.run import Calibration, simulate_skies
from gammasky.engine.infer.result import marginals, quoted

LARGEST_SHIFT, LARGEST_TAIL = 0.3, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", default="calibration")
    parser.add_argument("dataset", nargs="?", default="demo")
    parser.add_argument("--skies", type=int, default=20)
    parser.add_argument("--draws", type=int, default=1000, help="of each of 4 chains")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    configure()
    skies = simulate_skies(
        Calibration(model=options.preset, data=options.dataset, skies=options.skies, seed=options.seed)
    )
    reliable = false = 0
    for number in range(options.skies):
        model = skies.model_of(number)
        began = time.perf_counter()
        learnt = fit(model, Settings(seed=options.seed + number), quiet=True)
        between = time.perf_counter()
        settings = Settings(method="nuts", seed=options.seed + number, draws=options.draws)
        chains = fit(model, settings, quiet=True)
        ended = time.perf_counter()
        ours, theirs = (quoted(model, marginals(model, of.derived)) for of in (learnt, chains))
        shifts, tails = {}, {}
        for name, draws in theirs.items():
            shifts[name] = (ours[name].mean() - draws.mean()) / draws.std()
            below, above = np.quantile(draws, (0.05, 0.95))
            beyond = (ours[name] < below).mean() - 0.05, (ours[name] > above).mean() - 0.05
            tails[name] = max(beyond, key=abs)
        shift, tail = (max(of, key=lambda name: abs(of[name])) for of in (shifts, tails))
        differs = abs(shifts[shift]) > LARGEST_SHIFT or abs(tails[tail]) > LARGEST_TAIL
        says_so = learnt.verdict.level == "reliable"
        reliable += says_so
        false += says_so and differs and chains.verdict.level == "reliable"
        print(
            f"sky {number}: emulator {learnt.verdict.level}, {between - began:.0f} s, "
            f"{learnt.diagnostics['gradients']} gradients; nuts {chains.verdict.level}, {ended - between:.0f} s, "
            f"{chains.diagnostics['gradients']} gradients; mean of {shift} {shifts[shift]:+.2f} sd, "
            f"tail of {tail} {tails[tail]:+.3f}",
            flush=True,
        )
    print(f"{reliable} of {options.skies} reliable by the emulator, of which {false} differ from reliable chains")


if __name__ == "__main__":
    main()
