"""The point-spread function of the LAT by event type, from a response file, at any energy and inclination.

Source: the mission's page "LAT IRFs: PSF" (Cicerone,
https://fermi.gsfc.nasa.gov/ssc/data/analysis/documentation/Cicerone/Cicerone_LAT_IRFs/IRF_PSF.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.instrument.response_files import Grid, check_type, corners, response_tables
from gammasky.engine.sky.statements import column_in

PSF = "RPSF_"
SHAPES = ("NTAIL", "SCORE", "STAIL", "GCORE", "GTAIL")
FINENESS = 4  # points between two radii, for the normalisation


def radii_deg(n: int = 400, smallest: float = 1e-3, largest: float = 90.0) -> np.ndarray:
    """Radii [deg] for tables: 0, and then equal steps of the logarithm."""
    return np.concatenate([[0.0], np.geomspace(smallest, largest, n)])


@dataclass(frozen=True, eq=False)
class KingTables:
    """Double King functions over energy and inclination.

    P(r) = fcore K(x; score, gcore) + (1 - fcore) K(x; stail, gtail), x = r / S(E), with
    K(x; s, g) = (1 - 1/g) (1 + x^2 / (2 g s^2))^-g / (2 pi s^2), fcore = 1 / (1 + ntail stail^2 / score^2) and
    S(E) = sqrt((c0 (E / 100 MeV)^-beta)^2 + c1^2).

    Args:
        label: how errors name it.
        grid: bins of energy and inclination.
        shapes (5, M, N): ntail, score, stail, gcore, gtail by inclination and energy.
        scaling (3,): c0 [rad], c1 [rad], and the power of the energy, -beta.
    """

    label: str
    grid: Grid
    shapes: np.ndarray
    scaling: np.ndarray

    @classmethod
    def open(cls, path: Path | str, event_type: str) -> KingTables:
        """Read the extensions of one event type, such as "FRONT" or "PSF3".

        Raises:
            InputError: not such a file, an unknown event type, a missing column, parameters of no King function.
        """
        types, tables, label = response_tables(path, PSF)
        check_type(event_type, types, label)
        table, scale = tables[f"{PSF}{event_type}"], tables.get(f"PSF_SCALING_PARAMS_{event_type}")
        if scale is None:
            raise InputError(f"{label}: no extension PSF_SCALING_PARAMS_{event_type}; it has {', '.join(tables)}")
        grid = Grid.of(table, label)
        shapes = np.stack([column_in(table, name, "", label)[0] for name in SHAPES])
        if shapes.shape[1:] != (len(grid.cos_theta), len(grid.log_energy)):
            raise InputError(
                f"{label}: NTAIL of {event_type} has the shape {shapes.shape[1:]}; expected one of its bins"
            )
        if not ((shapes[:1] >= 0).all() and (shapes[1:3] > 0).all() and (shapes[3:] > 1).all()):
            raise InputError(
                f"{label}: {event_type} has parameters of no King function; expected widths > 0, slopes > 1"
            )
        return cls(f"{label}, {event_type}", grid, shapes, np.ravel(column_in(scale, "PSFSCALE", "", label)[0])[:3])

    def scale_rad(self, energy_mev: float) -> float:
        """S(E) [rad]."""
        c0, c1, power = self.scaling
        return float(np.hypot(c0 * (energy_mev / 100.0) ** power, c1))

    def density(self, energy_mev: float, cos_theta: np.ndarray, radius_deg: np.ndarray) -> np.ndarray:
        """Photons per steradian (n, R) at radii (R,) [deg] from 0 on, for inclinations (n,); one photon in all.

        Between the centres of the bins the functions are averaged, linearly in log E and cos(theta), at the scale S(E)
        of the energy itself; beyond the outermost centres those there hold.

        Raises:
            InputError: an energy outside of the table.
        """
        self.grid.check_energies(np.array([energy_mev]), self.label)
        fine = np.interp(
            np.arange(FINENESS * (len(radius_deg) - 1) + 1) / FINENESS, np.arange(len(radius_deg)), radius_deg
        )
        fine_rad = np.deg2rad(fine)
        place, share = corners(self.grid.log_energy, np.log10([energy_mev]))
        used = self.shapes[:, :, [place[0], place[0] + 1]]  # (5, M, 2)
        x = fine_rad / self.scale_rad(energy_mev)
        profile = _double_king(x, used[..., None])  # (M, 2, fine)
        ring = 2 * np.pi * np.sin(fine_rad) * profile
        total = ((ring[..., 1:] + ring[..., :-1]) * np.diff(fine_rad)).sum(axis=-1) / 2
        at_nodes = (profile[..., ::FINENESS] / total[..., None] * np.array([1 - share[0], share[0]])[:, None]).sum(
            axis=1
        )
        left, right = corners(self.grid.cos_theta, np.asarray(cos_theta))
        return np.asarray(at_nodes[left] * (1 - right[:, None]) + at_nodes[left + 1] * right[:, None])


def _double_king(x: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """The double King function at scaled radii, up to a factor; shapes (5, ..., 1)."""
    n_tail, s_core, s_tail, g_core, g_tail = shapes
    core_share = 1 / (1 + n_tail * (s_tail / s_core) ** 2)
    return np.asarray(core_share * _king(x, s_core, g_core) + (1 - core_share) * _king(x, s_tail, g_tail))


def _king(x: np.ndarray, sigma: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    return np.asarray((1 - 1 / gamma) / (2 * np.pi * sigma**2) * (1 + x**2 / (2 * gamma * sigma**2)) ** -gamma)
