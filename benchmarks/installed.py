"""Size of the environment that it runs in, by distribution: `PYTHON benchmarks/installed.py`; needs no package.

Of a plain `pip install .` in an empty environment these are the numbers of docs/install.md.
"""

from __future__ import annotations

from importlib import metadata

ROWS = 10


def megabytes(distribution: metadata.Distribution) -> float:
    """What its files take [MB, 10^6 bytes]; those that are not there, as compiled modules may be, count nothing."""
    paths = (file.locate() for file in distribution.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def main() -> None:
    sizes = sorted(((megabytes(one), one.name, one.version) for one in metadata.distributions()), reverse=True)
    for size, name, version in sizes[:ROWS]:
        print(f"{name:20} {version:12} {size:7.1f} MB")
    print(f"{f'all {len(sizes)}':33} {sum(size for size, *_ in sizes):7.1f} MB")


if __name__ == "__main__":
    main()
