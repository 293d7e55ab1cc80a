"""Table of the likelihood's speed: `python benchmarks/likelihood.py [DATA_DIR]`; see README.md beside this file."""

from __future__ import annotations

import sys
from pathlib import Path

from gammasky.engine.bench import likelihood_benchmark
from gammasky.engine.runtime import configure

PARTICLES, REPEATS = (1, 8, 32), 20


def main(data_dir: Path | None) -> None:
    """Print one row for each number of particles."""
    configure()
    rows = [likelihood_benchmark("fermi", data_dir, particles, REPEATS) for particles in PARTICLES]
    names = list(rows[0])
    print("| " + " | ".join(names) + " |")
    print("| " + " | ".join("---:" for _ in names) + " |")
    for row in rows:
        print("| " + " | ".join(f"{row[name]:.3g}" for name in names) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
