"""The response files of the mission: which event types they hold, and tables over energy and inclination."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.files import read_bytes
from gammasky.engine.sky.fits_files import open_fits
from gammasky.engine.sky.readers import unpacked
from gammasky.engine.sky.statements import column_in

SLACK = 1e-3


@dataclass(frozen=True, eq=False)
class Grid:
    """The bins of a response table.

    Args:
        energy_edges_mev (N + 1,) [MeV], cos_edges (M + 1,): edges of the bins in energy and in cos(inclination).
    """

    energy_edges_mev: np.ndarray
    cos_edges: np.ndarray

    @classmethod
    def of(cls, table: Any, label: str) -> Grid:
        """The bins that the columns ENERG_LO, ENERG_HI, CTHETA_LO and CTHETA_HI of a table tell of.

        Raises:
            InputError: a column is missing, or the bins do not follow each other.
        """
        edges = []
        for low_name, high_name, unit in (("ENERG_LO", "ENERG_HI", "MeV"), ("CTHETA_LO", "CTHETA_HI", "")):
            low, high = (column_in(table, name, unit, label)[0] for name in (low_name, high_name))
            if not (np.all(high > low) and np.allclose(low[1:], high[:-1], rtol=SLACK)):
                raise InputError(f"{label}: {low_name} and {high_name} of {table.name} are no bins side by side")
            edges.append(np.append(low, high[-1]))
        return cls(*edges)

    @property
    def log_energy(self) -> np.ndarray:
        """Decadic logarithm of the energy [MeV] at the (geometric) centres of the bins (N,)."""
        return np.asarray(np.log10(self.energy_edges_mev[:-1] * self.energy_edges_mev[1:]) / 2)

    @property
    def cos_theta(self) -> np.ndarray:
        """Cosine of the inclination at the centres of the bins (M,)."""
        return np.asarray((self.cos_edges[:-1] + self.cos_edges[1:]) / 2)

    def check_energies(self, energy_mev: np.ndarray, label: str) -> None:
        """Refuse energies (n,) [MeV] outside of the table.

        Raises:
            InputError: names the range of the table.
        """
        low, high = self.energy_edges_mev[[0, -1]]
        if np.min(energy_mev) < low * (1 - SLACK) or np.max(energy_mev) > high * (1 + SLACK):
            raise InputError(
                f"{label}: energies from {np.min(energy_mev) / 1e3:g} to {np.max(energy_mev) / 1e3:g} GeV are not all "
                f"within the {low / 1e3:g} to {high / 1e3:g} GeV of the response; mind the unit"
            )


def corners(nodes: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where values lie among nodes: the place to the left, and the share of the node to the right.

    Beyond the outermost nodes the value there holds, as in the mission's tools.
    """
    place = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, len(nodes) - 2)
    return place, np.clip((at - nodes[place]) / (nodes[place + 1] - nodes[place]), 0.0, 1.0)


def response_tables(path: Path | str, prefix: str) -> tuple[list[str], dict[str, Any], str]:
    """The event types of a response file, its extensions by name, and how errors name it.

    Args:
        path: the file.
        prefix: of the names of the extensions that are wanted, before the event type, such as "RPSF_".

    Raises:
        InputError: no whole FITS file, or none with such an extension.
    """
    label = str(path)
    with open_fits(unpacked(read_bytes(Path(path)), label), label) as hdus:
        found = {hdu.name: hdu for hdu in hdus}
        for hdu in hdus:
            _ = hdu.data
    types = [name.removeprefix(prefix) for name in found if name.startswith(prefix)]
    if not types:
        have = ", ".join(name for name in found if name != "PRIMARY") or "none"
        raise InputError(f"{label}: no extension {prefix}<event type>, as such a response file has it; it has {have}")
    return types, found, label


def check_type(event_type: str, types: list[str], label: str) -> None:
    """Refuse an event type that a response file does not have.

    Raises:
        InputError: names the nearest.
    """
    if event_type not in types:
        raise unknown_name(f"event type of {label}:", event_type, types)
