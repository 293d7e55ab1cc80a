"""What the smooth excess of a fit would be as annihilation of dark matter: <sigma v> by mass.

The mean intensity of annihilation over the region, in an energy band, of dark matter that is its own antiparticle is

    I = <sigma v> / (8 pi m^2)  N(m)  J,      J = mean over the region of  int rho^2 ds,

with N photons in the band from one annihilation (arXiv:1012.4515) and the density rho of the fitted profile, scaled to
the local one at the Sun. Of each posterior draw the part of the component that is a profile (NFW or Einasto) gives I,
and its shape J.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.derived import BIN_FLUX, FLUX
from gammasky.engine.model import SkyModel
from gammasky.engine.model.spec import Component
from gammasky.engine.model.templates import MixTemplate, Setting
from gammasky.engine.model.templates.base import Template
from gammasky.engine.model.templates.spheroid import Spheroid
from gammasky.engine.model.values import Parameters, value_of
from gammasky.engine.sky.products.annihilation import AnnihilationYields

Floats = NDArray[np.float64]

LOCAL_DENSITY_GEV_CM3 = 0.4  # of dark matter at the Sun (arXiv:1404.1938 reviews its measurements)
CM_PER_KPC = 3.0856775814913673e21
QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)
LIMIT = 0.95  # level of the upper limit
MASSES = 60  # where none are given
MOST_DRAWS = 2000
HEAVIEST_GEV = 1000.0  # where no masses are given


@dataclass(frozen=True, eq=False)
class Annihilation:
    """<sigma v> of dark matter by mass, for one channel.

    Attributes:
        component: whose profile it is; channel: into which it annihilates.
        masses_gev (M,) [GeV]: masses of the particle.
        cross_sections (5, M) [cm^3 s^-1]: `QUANTILES` of <sigma v> over the posterior.
        limit (M,) [cm^3 s^-1]: its 95 % quantile, the posterior's upper limit.
        intensity (n,) [cm^-2 s^-1 sr^-1]: mean over the region, of each draw.
        j_factor (n,) [GeV^2 cm^-5]: mean over the region, of each draw.
        local_density_gev_cm3 [GeV cm^-3]: density at the Sun.
    """

    component: str
    channel: str
    masses_gev: Floats
    cross_sections: Floats
    limit: Floats
    intensity: Floats
    j_factor: Floats
    local_density_gev_cm3: float

    def table(self) -> dict[str, Any]:
        """All numbers by name, as JSON has them; of the draws their quantiles."""
        return {
            "component": self.component,
            "channel": self.channel,
            "local_density_gev_cm3": self.local_density_gev_cm3,
            "quantiles": list(QUANTILES),
            "intensity_cm2_s_sr": np.quantile(self.intensity, QUANTILES).tolist(),
            "j_factor_gev2_cm5": np.quantile(self.j_factor, QUANTILES).tolist(),
            "masses_gev": self.masses_gev.tolist(),
            "cross_section_cm3_s": self.cross_sections.tolist(),
            "upper_limit_cm3_s": self.limit.tolist(),
        }


def annihilation(
    model: SkyModel,
    draws: Mapping[str, Floats],
    yields: AnnihilationYields,
    channel: str,
    *,
    component: str | None = None,
    masses_gev: Sequence[float] | None = None,
    local_density_gev_cm3: float = LOCAL_DENSITY_GEV_CM3,
) -> Annihilation:
    """Read the smooth excess of a fit as annihilation of dark matter.

    Args:
        model: the model on its data.
        draws: `derived` of its fit: parameters and fluxes by name (n, ...).
        yields: photons of annihilation.
        channel: such as "b", "tau" or "W".
        component: the smooth component; None: the only one that has a density profile.
        masses_gev [GeV]: masses of the particle; None: from what the lowest energy asks for to 1 TeV.
        local_density_gev_cm3 [GeV cm^-3]: density of dark matter at the Sun.

    Raises:
        InputError: no such component, or one without a density profile or with a cut or modulated one; a channel, mass
            or density that cannot be.
    """
    if not (np.isfinite(local_density_gev_cm3) and local_density_gev_cm3 > 0):
        raise InputError(f"local density: expected a positive number [GeV cm^-3], got {local_density_gev_cm3:g}")
    chosen, profile = _smooth_profile(model, component)
    edges = model.pixels.energy_edges_gev
    low, high = float(edges[0]), float(edges[-1])
    masses = _masses(yields, low) if masses_gev is None else np.asarray(masses_gev, dtype=np.float64)
    if not masses.size or not (np.isfinite(masses).all() and (masses > low).all()):
        raise InputError(f"masses: expected masses above the lowest energy, {low:g} GeV, got {masses.tolist()!s:.60}")
    photons = yields.photons(channel, masses, low, high)
    if not (photons > 0).all():
        raise InputError(
            f"channel '{channel}': no photons between {low:g} and {high:g} GeV from "
            f"{masses[photons <= 0][0]:g} GeV; ask for other masses"
        )
    n = len(next(iter(draws.values())))
    kept = np.linspace(0, n - 1, min(n, MOST_DRAWS)).astype(int)
    theta = {name: jnp.asarray(np.asarray(draws[name])[kept]) for name in model.latent.slots}
    part = np.asarray(jax.vmap(lambda point: _part(chosen.template, profile, point))(theta))
    intensity = _intensity(model, chosen.name, draws)[kept] * part
    j_factor = _j_factor(model, profile, theta, local_density_gev_cm3)
    per_draw = intensity / j_factor
    scale = 8 * np.pi * masses**2 / photons
    cross_sections = np.quantile(per_draw, QUANTILES)[:, None] * scale
    limit = np.quantile(per_draw, LIMIT) * scale
    return Annihilation(
        chosen.name, channel, masses, cross_sections, limit, intensity, j_factor, local_density_gev_cm3
    )  # fmt: skip


def _smooth_profile(model: SkyModel, name: str | None) -> tuple[Component, Spheroid]:
    """The component, and its NFW profile."""
    smooth = {component.name: component for component in model.spec.smooth}
    if name is not None and name not in smooth:
        raise unknown_name("smooth component", name, smooth)
    with_profile = {of: component for of, component in smooth.items() if _profiles(component.template)}
    if name is None:
        if len(with_profile) != 1:
            found = ", ".join(f"'{of}'" for of in with_profile) or "none"
            raise InputError(f"component: expected one smooth component with a density profile, found {found}; name it")
        name = next(iter(with_profile))
    profiles = _profiles(smooth[name].template)
    if len(profiles) != 1:
        raise InputError(f"component '{name}': expected one density profile in its template, found {len(profiles)}")
    whole = [smooth[name].template, *_members(smooth[name].template)]
    options = (option for template in whole for option in (template.modulation, template.field, template.hemisphere))
    if any(option is not None for option in options):
        raise InputError(f"component '{name}': a template that is cut or modulated is no density of dark matter")
    return smooth[name], profiles[0]


def _members(template: Template) -> list[Template]:
    """All templates that a template is mixed of, those of its members included."""
    members = template.mix if isinstance(template, MixTemplate) else []
    return [found for member in members for found in (member, *_members(member))]


def _profiles(template: Template) -> list[Spheroid]:
    """The NFW profiles in a template."""
    return [found for found in (template, *_members(template)) if isinstance(found, Spheroid)]


def _part(template: Template, profile: Spheroid, theta: Parameters) -> jax.Array:
    """The share of the profile in a template's flux."""
    if template is profile:
        return jnp.ones(())
    if not isinstance(template, MixTemplate):
        return jnp.zeros(())
    shares = template.shares(theta)
    return jnp.sum(jnp.stack([shares[n] * _part(member, profile, theta) for n, member in enumerate(template.mix)]))


def _intensity(model: SkyModel, name: str, draws: Mapping[str, Floats]) -> Floats:
    """Mean intensity (n,) [cm^-2 s^-1 sr^-1] of a component over the region, in all energy bins together."""
    place = list(model.expectation.fluxes(model.sky(model.expectation.middle))).index(name)
    counts = np.asarray(draws[BIN_FLUX] if BIN_FLUX in draws else np.asarray(draws[FLUX])[..., None])
    return np.asarray(counts[:, place] @ (1.0 / model.pixels.counts_per_intensity))


def _j_factor(model: SkyModel, profile: Spheroid, theta: Parameters, local_density: float) -> Floats:
    """Mean of int rho^2 ds over the region (n,) [GeV^2 cm^-5]."""
    pixels, settings = model.pixels, profile.settings
    inside = np.flatnonzero(pixels.energy_bin[: pixels.n_region] == 0)
    weights = np.ones(len(inside)) if pixels.relative_area is None else pixels.relative_area[inside]
    intensity = profile.intensity(Setting(model.dataset, pixels, model.backend))

    def one(point: Parameters) -> jax.Array:
        # the axis of a spheroid lies on the sky: the Sun is in the plane of its equator
        scale = value_of(settings.scale_radius_kpc, point)
        at_sun = jnp.exp(profile.log_emissivity(jnp.asarray(settings.sun_kpc), scale, point))
        return jnp.asarray(weights / weights.sum()) @ intensity(point)[inside] / at_sun

    return np.asarray(jax.lax.map(one, theta, batch_size=16)) * local_density**2 * CM_PER_KPC


def _masses(yields: AnnihilationYields, low_gev: float) -> Floats:
    """Masses in equal steps of their logarithm, from a little above the lowest energy on."""
    first = max(float(yields.masses_gev[0]), 1.5 * low_gev)
    last = min(float(yields.masses_gev[-1]), HEAVIEST_GEV, low_gev * 10 ** -float(yields.log10_x[0]))
    return np.geomspace(first, last, MASSES)
