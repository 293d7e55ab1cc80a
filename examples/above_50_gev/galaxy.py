"""Intensities of the Galaxy for the recipe beside this script, from the maps of the data set `fermi`.

    gammasky data fetch fermi
    python galaxy.py           # writes pib.fits, ics.fits and bub.fits beside itself; `python galaxy.py FOLDER` there

The maps of that data set are expected counts at 2 to 20 GeV: divided by its exposure they are intensities, up to a
factor, which is all that a template needs. Gas and inverse Compton are those of Model O, the bubbles its uniform ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

import healpy
import numpy as np

import gammasky

NAMES = {"pib": "Opi", "ics": "Oic", "bub": "bub"}


def main() -> None:
    fermi = gammasky.Dataset.open("fermi")
    for name, template in NAMES.items():
        intensity = fermi.template(template)[0] / fermi.exposure[0]
        path = (Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent) / f"{name}.fits"
        healpy.write_map(
            path, intensity / intensity.mean(), coord="G", column_names=["INTENSITY"], dtype=np.float64, overwrite=True
        )
        print(path)


if __name__ == "__main__":
    main()
