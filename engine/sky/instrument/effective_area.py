"""The effective area of the LAT by event type, with its dependence on the azimuth and on the livetime fraction.

Sources: the mission's pages "LAT IRFs: Effective Area" and "LAT IRFs: overview" (Cicerone,
https://fermi.gsfc.nasa.gov/ssc/data/analysis/documentation/Cicerone/Cicerone_LAT_IRFs/IRF_EA.html); Ackermann et al.
2012 (arXiv:1206.1896), the section on the effective area.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.instrument.response_files import Grid, check_type, corners, response_tables
from gammasky.engine.sky.statements import column_in

AREA = "EFFECTIVE AREA_"


@dataclass(frozen=True, eq=False)
class EffectiveArea:
    """The effective area of one event type.

    Args:
        label: how errors name it.
        grid: bins of energy and inclination.
        area_cm2 (M, N) [cm^2]: area by inclination and energy, at the centres of the bins.
        phi_grid, phi_parameters (2, m, n): bins and parameters of the azimuthal dependence; None: there is none.
        efficiency (2, 6): parameters of the dependence on the livetime fraction; None: there is none.
    """

    label: str
    grid: Grid
    area_cm2: np.ndarray
    phi_grid: Grid | None = None
    phi_parameters: np.ndarray | None = None
    efficiency: np.ndarray | None = None

    @classmethod
    def open(cls, path: Path | str, event_type: str) -> EffectiveArea:
        """Read the extensions of one event type, such as "FRONT" or "PSF3".

        Raises:
            InputError: not such a file, an unknown event type, a column that is missing or whose unit is no area.
        """
        types, tables, label = response_tables(path, AREA)
        check_type(event_type, types, label)
        table = tables[f"{AREA}{event_type}"]
        grid = Grid.of(table, label)
        area = column_in(table, "EFFAREA", "cm2", label, unsaid="m2")[0]
        _check_shape(area, grid, f"{label}: EFFAREA of {event_type}")
        if not np.isfinite(area).all() or (area < 0).any():
            raise InputError(f"{label}: EFFAREA of {event_type} has values that are negative or no numbers")
        phi, efficiency = tables.get(f"PHI_DEPENDENCE_{event_type}"), tables.get(f"EFFICIENCY_PARAMS_{event_type}")
        phi_grid = phi_parameters = parameters = None
        if phi is not None:
            phi_grid = Grid.of(phi, label)
            phi_parameters = np.stack([column_in(phi, f"PHIDEP{number}", "", label)[0] for number in (0, 1)])
            _check_shape(phi_parameters[0], phi_grid, f"{label}: PHIDEP0 of {event_type}")
        if efficiency is not None:
            parameters = column_in(efficiency, "EFFICIENCY_PARS", "", label)[:2]
            parameters = parameters if parameters.any() else None  # all zero: none were made for this response
            if parameters is not None and parameters.shape != (2, 6):
                raise InputError(f"{label}: EFFICIENCY_PARS has the shape {parameters.shape}; expected (2, 6)")
        return cls(f"{label}, {event_type}", grid, area, phi_grid, phi_parameters, parameters)

    @property
    def cos_min(self) -> float:
        """Cosine of the inclination below which the area is zero."""
        return float(self.grid.cos_edges[0])

    def at(self, energy_mev: float, cos_theta: np.ndarray) -> np.ndarray:
        """Effective area [cm^2] at one energy and inclinations of any shape, averaged over the azimuth.

        Linear between the centres of the bins in log E and cos(theta); beyond the outermost ones the value there, and
        zero at inclinations that the table does not have.

        Raises:
            InputError: an energy outside of the table.
        """
        self.grid.check_energies(np.array([energy_mev]), self.label)
        place, share = corners(self.grid.log_energy, np.log10([energy_mev]))
        column = self.area_cm2[:, place[0]] * (1 - share[0]) + self.area_cm2[:, place[0] + 1] * share[0]
        cos_theta = np.asarray(cos_theta)
        return np.where(cos_theta >= self.cos_min, np.interp(cos_theta, self.grid.cos_theta, column), 0.0)

    def livetime_factors(self, energy_mev: float) -> tuple[float, float]:
        """Factors (a, b) of the area, a + b f, where f is the fraction of the time that is livetime.

        Each of a (second row of EFFICIENCY_PARS) and b (first row) is three
        straight lines in log10 E that meet: the parameters are slope and offset of the first, slope and beginning of
        the second and of the third.
        """
        if self.efficiency is None:
            return 1.0, 0.0
        x = np.log10(energy_mev)
        values = []
        for slope, offset, slope1, begin1, slope2, begin2 in self.efficiency:
            first, second = min(x, begin1), min(max(x, begin1), begin2) - begin1
            values.append(float(offset + slope * first + slope1 * second + slope2 * max(x - begin2, 0.0)))
        return values[1], values[0]

    def azimuth_factors(self, energy_mev: float, cos_theta: np.ndarray, xi_edges: np.ndarray) -> np.ndarray:
        """Mean area in bins of the folded azimuth over the mean of all azimuths, (n, X) for inclinations (n,).

        1 + p0 xi^p1 over its mean 1 + p0 / (1 + p1), with xi = (4 / pi) |phi mod (pi / 2) - pi / 4| from 0 (along a
        diagonal of the square instrument) to 1 (along an axis), averaged over each bin. The parameters are those of
        the bin, as in the mission's tools.

        Args:
            energy_mev [MeV]: energy.
            cos_theta (n,): inclinations.
            xi_edges (X + 1,): edges of the bins of xi.
        """
        if self.phi_grid is None or self.phi_parameters is None:
            return np.ones((len(cos_theta), len(xi_edges) - 1))
        edges = self.phi_grid.energy_edges_mev, self.phi_grid.cos_edges
        energy_bin = np.clip(np.searchsorted(edges[0], energy_mev, side="right") - 1, 0, len(edges[0]) - 2)
        cos_bin = np.clip(np.searchsorted(edges[1], cos_theta, side="right") - 1, 0, len(edges[1]) - 2)
        p0, p1 = self.phi_parameters[:, cos_bin, energy_bin][:, :, None]
        powers = np.diff(xi_edges[None, :] ** (1 + p1), axis=1) / ((1 + p1) * np.diff(xi_edges))
        return np.asarray((1 + p0 * powers) / (1 + p0 / (1 + p1)))


def _check_shape(values: np.ndarray, grid: Grid, what: str) -> None:
    expected = len(grid.cos_theta), len(grid.log_energy)
    if values.shape != expected:
        raise InputError(f"{what} has the shape {values.shape}; expected {expected}, inclinations by energies")
