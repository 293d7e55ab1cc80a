"""Members side by side against one after the other: `python benchmarks/lanes.py [--skies 8] [--lanes 1,2,8]`.

Skies of the preset `calibration` on the demo (or of another model and data set, by `--model` and `--data`), each fitted
by the emulator with a seed of its own; see README.md.
"""

from __future__ import annotations

import argparse
import queue
import resource
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gammasky.analyses.calibration.run import Calibration, Skies, simulate_skies
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.machine import machine
from gammasky.engine.model.programs import Programs
from gammasky.engine.runtime import configure

N_DRAWS = 1000


@dataclass(frozen=True)
class Way:
    """How many members are side by side, and whether what they ask is answered together."""

    lanes: int
    gathered: bool


def main() -> None:
    """Fit all skies in every way, by turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="calibration")
    parser.add_argument("--data", default="demo")
    parser.add_argument("--skies", type=int, default=8)
    parser.add_argument(
        "--lanes", default="1,2,8", help="numbers of lanes, the first of which is what others are held against"
    )
    parser.add_argument("--gathered", default="", help="the same, of lanes whose calls are answered together")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    configure()
    ways = [Way(int(lanes), False) for lanes in options.lanes.split(",")]
    ways += [Way(int(lanes), True) for lanes in options.gathered.split(",") if lanes]
    skies = simulate_skies(Calibration(options.model, options.data, skies=options.skies))
    programs = {way: Programs(way.lanes if way.gathered else 1) for way in ways}
    programs = {way: of if way.gathered else programs[ways[0]] for way, of in programs.items()}
    for way in ways:  # compile
        run(skies, range(min(way.lanes, options.skies)), way, programs[way])
    print(f"{options.skies} skies of {options.model} on {options.data}; {machine(0)}", file=sys.stderr)
    measured: dict[Way, list[tuple[float, float]]] = {way: [] for way in ways}
    draws: dict[Way, list[np.ndarray]] = {}
    for _ in range(options.repeats):
        for way in ways:
            before, began = cpu_seconds(), time.perf_counter()
            draws[way] = run(skies, range(options.skies), way, programs[way])
            measured[way].append((time.perf_counter() - began, cpu_seconds() - before))
            print(way, measured[way][-1], file=sys.stderr, flush=True)
    print(
        "| lanes | answers of a call | wall [s] | CPU [s] | fits a minute | wall / first | CPU / first | same draws |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for way in ways:
        wall, cpu = (statistics.median(column) for column in zip(*measured[way], strict=True))
        ratios = [  # within one turn: what else the machine does changes from turn to turn
            statistics.median(
                one[which] / first[which] for one, first in zip(measured[way], measured[ways[0]], strict=True)
            )
            for which in (0, 1)
        ]
        same = all(np.array_equal(one, first) for one, first in zip(draws[way], draws[ways[0]], strict=True))
        gathering = programs[way].gathering
        together = f"{gathering.answers / gathering.calls:.1f}" if way.gathered else "1"
        told = (together, f"{wall:.1f}", f"{cpu:.1f}", f"{60 * options.skies / wall:.1f}")
        cells = (str(way.lanes), *told, *(f"{ratio:.2f}" for ratio in ratios), "yes" if same else "no")
        print(f"| {' | '.join(cells)} |")


def run(skies: Skies, numbers: Sequence[int], way: Way, programs: Programs) -> list[np.ndarray]:
    """The draws of every sky."""
    waiting, found = queue.SimpleQueue[int](), dict[int, np.ndarray]()
    for number in numbers:
        waiting.put(number)

    def lane() -> None:
        while True:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            model = skies.model_of(number)
            model.share(programs)
            found[number] = fit(model, Settings(seed=number), n_draws=N_DRAWS).z

    if way.lanes == 1:
        lane()
    else:
        threads = [threading.Thread(target=lane) for _ in range(way.lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return [found[number] for number in numbers]


def cpu_seconds() -> float:
    """CPU time of this process so far, of all its threads [s]."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
