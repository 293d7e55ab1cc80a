"""Photons of dark-matter annihilation, from the table of arXiv:1012.4515 (PPPC 4 DM ID), `AtProduction_gammas.dat`.

The file is not part of this package: its authors give it away at the page that the paper names, and ask to be cited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.sky.products.cubes import content_of

Floats = NDArray[np.float64]

#: The names that this package gives to columns of the file.
CHANNELS = {
    "\\[Mu]": "mu", "\\[Tau]": "tau", "\\[Gamma]": "gamma",
}  # fmt: skip
CITATION = Citation(
    "photons of dark-matter annihilation",
    r"""
    @article{Cirelli2011,
      author        = {Cirelli, Marco and Corcella, Gennaro and Hektor, Andi and others},
      title         = {{PPPC 4 DM ID}: a poor particle physicist cookbook for dark matter indirect detection},
      journal       = {Journal of Cosmology and Astroparticle Physics},
      volume        = {03},
      pages         = {051},
      year          = {2011},
      eprint        = {1012.4515},
      archivePrefix = {arXiv}
    }
    """,
)
FIRST_COLUMNS = ("mDM", "Log[10,x]")


@dataclass(frozen=True, eq=False)
class AnnihilationYields:
    """dN/dlog10 x of photons of one annihilation, x = E / mass, on a grid of masses and x.

    Args:
        label: how errors name the file.
        masses_gev (M,) [GeV]: rising.
        log10_x (X,): rising, up to 0.
        spectra (M, X): by channel.
    """

    citation: ClassVar[Citation] = CITATION

    label: str
    masses_gev: Floats
    log10_x: Floats
    spectra: dict[str, Floats]

    @classmethod
    def open(cls, path: Path | str) -> AnnihilationYields:
        """The table in the file `path`; see `read`."""
        return cls.read(*content_of(path))

    @classmethod
    def read(cls, content: bytes, label: str) -> AnnihilationYields:
        """The table in the bytes of a file (unpacked): a line of names, then mass [GeV], log10 x and dN/dlog10 x.

        Raises:
            InputError: other columns, rows of another length, or numbers that are no such table.
        """
        lines = [line.split() for line in content.decode("utf-8", errors="replace").splitlines() if line.strip()]
        names = lines[0] if lines else []
        if tuple(names[:2]) != FIRST_COLUMNS or len(names) < 3:
            raise InputError(
                f"{label}: expected the columns {', '.join(FIRST_COLUMNS)} and one for each channel in the first line, "
                "as AtProduction_gammas.dat of arXiv:1012.4515 has them"
            )
        try:
            rows = np.array(lines[1:], dtype=np.float64)
        except ValueError:
            rows = np.empty((0, 0))
        if rows.ndim != 2 or rows.shape[1:] != (len(names),) or not np.isfinite(rows).all():
            raise InputError(f"{label}: expected {len(names)} numbers to a row, as many as there are names")
        masses, log10_x = np.unique(rows[:, 0]), np.unique(rows[:, 1])
        whole = len(rows) == len(masses) * len(log10_x)
        rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
        if not whole or (rows[:, 1].reshape(len(masses), -1) != log10_x).any() or len(masses) < 2 or len(log10_x) < 2:
            raise InputError(f"{label}: expected the same values of log10 x for each of at least two masses")
        values = rows[:, 2:]
        if masses[0] <= 0 or log10_x[-1] > 0 or (values < 0).any():
            raise InputError(f"{label}: expected positive masses, x of at most 1 and yields that are not negative")
        spectra = {
            CHANNELS.get(name, name): column.reshape(len(masses), -1)
            for name, column in zip(names[2:], values.T, strict=True)
        }
        return cls(label, masses, log10_x, spectra)

    def photons(self, channel: str, masses_gev: Sequence[float] | Floats, low_gev: float, high_gev: float) -> Floats:
        """Photons (n,) of one annihilation with energies between two limits, for these masses.

        dN/dlog10 x is linear in log10 x between the rows of the table, and linear in log mass between its masses, as
        its authors do.

        Raises:
            InputError: an unknown channel (with the nearest match), a mass outside the table, or energies below it.
        """
        if channel not in self.spectra:
            raise unknown_name("channel", channel, self.spectra)
        masses = np.asarray(masses_gev, dtype=np.float64)
        outside = masses[(masses < self.masses_gev[0]) | (masses > self.masses_gev[-1])]
        if outside.size:
            raise InputError(
                f"{self.label}: mass {outside[0]:g} GeV is outside of {self.masses_gev[0]:g} to "
                f"{self.masses_gev[-1]:g} GeV"
            )
        lowest = 10 ** self.log10_x[0] * masses.max(initial=0.0)
        if low_gev < lowest:
            raise InputError(
                f"{self.label}: its spectra of {masses.max():g} GeV begin at {lowest:.3g} GeV, above {low_gev:g} GeV; "
                "ask for smaller masses"
            )
        place = np.interp(np.log(masses), np.log(self.masses_gev), np.arange(len(self.masses_gev)))
        below = np.minimum(place.astype(int), len(self.masses_gev) - 2)
        part = (place - below)[:, None]
        table = self.spectra[channel]
        spectra = (1 - part) * table[below] + part * table[below + 1]
        steps = np.diff(self.log10_x)
        within = np.concatenate(
            [np.zeros((len(masses), 1)), np.cumsum(0.5 * steps * (spectra[:, 1:] + spectra[:, :-1]), axis=1)], axis=1
        )

        def up_to(energy: float) -> Floats:
            """Photons below an energy: the integral of the line between two rows is a parabola."""
            x = np.minimum(np.log10(energy / masses), self.log10_x[-1])
            row = np.clip(np.searchsorted(self.log10_x, x, side="right") - 1, 0, len(steps) - 1)
            number, share = np.arange(len(masses)), (x - self.log10_x[row]) / steps[row]
            left, right = spectra[number, row], spectra[number, row + 1]
            return within[number, row] + steps[row] * share * (left + 0.5 * share * (right - left))

        return np.asarray(up_to(high_gev) - up_to(low_gev))
