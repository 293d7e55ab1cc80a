"""docs/calibration.md, from the folders of calibrations that were run.

    gammasky calibrate calibration --data fermi --scenario photons --honest 100 --skies 200 --out runs/fermi
    python docs/make_calibration.py runs

What `runs` holds under the name of a run is copied: its calibration.json to docs/calibration/NAME.json, its P-P curves
to docs/figures. The page is docs/calibration/page.md with every line `{{ table NAME: SCENARIO }}` replaced by a table
and `{{ figure NAME }}` by those curves; what was not run again keeps its numbers, and what was never run says so. No
number of a table is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

from gammasky.analyses.calibration.report import RESULT
from gammasky.analyses.calibration.statistics import (
    CoverageTable,
    LevelCoverage,
    ParameterCalibration,
    coverage_markdown,
)

HERE = Path(__file__).parent
KEPT, FIGURES, PAGE = HERE / "calibration", HERE / "figures", HERE / "calibration.md"
NOT_RUN = "*Not run yet: the command above makes this table.*\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="Of runs, each in a folder of its name; none: those kept.")
    folder = parser.parse_args().folder
    for result in [] if folder is None else sorted(folder.glob(f"*/{RESULT}")):
        shutil.copyfile(result, KEPT / f"{result.parent.name}.json")
        shutil.copyfile(result.parent / "pp.png", FIGURES / f"calibration_{result.parent.name}_pp.png")
    text = (KEPT / "page.md").read_text(encoding="utf-8")
    text = re.sub(r"^\{\{ table (\w+): (.+) \}\}\n", lambda found: table(*found.groups()), text, flags=re.MULTILINE)
    text = re.sub(r"^\{\{ figure (\w+) \}\}\n", lambda found: figure(found.group(1)), text, flags=re.MULTILINE)
    PAGE.write_text(text, encoding="utf-8")
    print(PAGE)


def table(name: str, scenario: str) -> str:
    """The coverage table of a scenario of a run, with its number of skies."""
    path = KEPT / f"{name}.json"
    if not path.is_file():
        return NOT_RUN
    numbers = json.loads(path.read_text(encoding="utf-8"))
    if scenario not in numbers["tables"]:
        return NOT_RUN
    return coverage_markdown(read(numbers["tables"][scenario]))


def read(entry: dict[str, Any]) -> CoverageTable:
    """The table that a calibration.json holds."""
    rows = [
        ParameterCalibration(**{**row, "coverage": tuple(LevelCoverage(**cell) for cell in row["coverage"])})
        for row in entry["parameters"]
    ]
    return CoverageTable(entry["n_skies"], entry["n_draws"], tuple(rows))


def figure(name: str) -> str:
    """The P-P curves of a run, if there are any."""
    file = FIGURES / f"calibration_{name}_pp.png"
    return f"![P-P curves](figures/{file.name})\n" if file.is_file() else ""


if __name__ == "__main__":
    main()
