"""Templates as functions of the parameters: (arrays, theta) -> values in the N pixels, mean 1 over the region.

Fixed numbers (maps, harmonics, exposure) go into one table of arrays that is passed to every call, so that compiled
programs hold no data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.bar.geometry import BarSky
from gammasky.engine.kernels.bar.op import triaxial_bar
from gammasky.engine.kernels.profiles.geometry import DiskSky, NFWSky
from gammasky.engine.kernels.profiles.op import lorimer_disk, nfw_squared
from gammasky.engine.model.latent import Parameters
from gammasky.engine.model.spec import (
    AnyTemplate,
    BarTemplate,
    DiskTemplate,
    MapTemplate,
    MixTemplate,
    Modulation,
    NfwTemplate,
    Value,
)
from gammasky.engine.model.uses import harmonic_orders, template_uses
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.flat_pixels import FlatPixels

Arrays = dict[str, Any]
Template = Callable[[Arrays, Parameters], jax.Array]


def value_of(value: Value, theta: Parameters) -> jax.Array:
    """A number, or the parameter of that name."""
    return theta[value] if isinstance(value, str) else jnp.asarray(float(value))


class TemplateBuilder:
    """Builds template functions for one dataset and region; `arrays` collects their fixed numbers.

    Args:
        dataset: where maps come from.
        pixels: the N pixels.
        backend: of the profile kernels.
    """

    def __init__(self, dataset: Dataset, pixels: FlatPixels, backend: str) -> None:
        self.arrays: Arrays = {}
        self._dataset, self._pixels, self._backend = dataset, pixels, backend
        self._profiles: dict[tuple[Any, ...], Any] = {}

    def build(self, template: AnyTemplate, *, point_sources: bool, as_is: bool) -> Template:
        """The function of one template.

        Args:
            template: its description.
            point_sources: bring it to intensity (sources per pixel) rather than to counts.
            as_is: do neither.

        Raises:
            InputError: unknown map, or a map that is empty in the region.
        """
        options = {"point_sources": point_sources, "as_is": as_is}
        if isinstance(template, str):
            return self._map(template, **options)
        if isinstance(template, MapTemplate):
            base = self._map(template.map, **options)
        elif isinstance(template, MixTemplate):
            base = self._mix(template, **options)
        else:
            base = self._profile(template, counts=not (point_sources or as_is))
        if template.modulation is not None:
            base = self._modulated(base, template.modulation)
        return base if template.hemisphere is None else self._cut(base, template.hemisphere)

    def _store(self, name: str, values: np.ndarray) -> str:
        self.arrays[name] = values
        return name

    def _map(self, name: str, *, point_sources: bool, as_is: bool) -> Template:
        values = self._dataset.template_at(name, self._pixels.index)
        unit = self._dataset.template_unit(name)
        if not as_is and point_sources and unit == "counts":
            values = values / self._pixels.relative_exposure
        if not as_is and not point_sources and unit == "intensity":
            values = values * self._pixels.relative_exposure
        mean = values[: self._pixels.n_region].mean()
        if not mean > 0:
            raise InputError(f"template '{name}' is zero everywhere in the region of interest; leave it out")
        key = self._store(f"map:{name}:{unit}:{point_sources}:{as_is}", values / mean)
        return lambda arrays, _theta: arrays[key]

    def _mix(self, template: MixTemplate, *, point_sources: bool, as_is: bool) -> Template:
        members = [self.build(member, point_sources=point_sources, as_is=as_is) for member in template.mix]
        given = template.fractions

        def mixture(arrays: Arrays, theta: Parameters) -> jax.Array:
            if isinstance(given, list):
                shares = jnp.asarray(given)
            else:
                shares = value_of(given, theta)
                shares = shares if shares.ndim else jnp.stack([shares, 1.0 - shares])
            return shares @ jnp.stack([member(arrays, theta) for member in members])

        return mixture

    def _profile(self, template: Any, *, counts: bool) -> Template:
        exposure = self._store("relative_exposure", self._pixels.relative_exposure)
        kinds: dict[type, Callable[[Any], Callable[[Parameters], jax.Array]]] = {
            NfwTemplate: self._nfw, DiskTemplate: self._disk, BarTemplate: self._bar,
        }  # fmt: skip
        evaluate = kinds[type(template)](template)
        n_region = self._pixels.n_region

        def profile(arrays: Arrays, theta: Parameters) -> jax.Array:
            values = evaluate(theta)
            values = values * arrays[exposure] if counts else values
            return values / jnp.mean(values[:n_region])

        shape = template.model_copy(update={"modulation": None, "hemisphere": None})
        if any(template_uses(shape, "")):
            return profile
        # nothing free in it: integrated once
        key = self._store(f"profile:{shape!r}:{counts}", np.asarray(profile(self.arrays, {})))
        return lambda arrays, _theta: arrays[key]

    def _nfw(self, template: Any) -> Callable[[Parameters], jax.Array]:
        settings = template.nfw
        lengths = {"sun_kpc": settings.sun_kpc, "scale_radius_kpc": settings.scale_radius_kpc}
        sky = self._geometry(NFWSky, lengths)
        return lambda theta: nfw_squared(value_of(settings.gamma, theta), sky, backend=self._backend)

    def _disk(self, template: DiskTemplate) -> Callable[[Parameters], jax.Array]:
        settings = template.disk
        sky = self._geometry(DiskSky, {"sun_kpc": settings.sun_kpc})

        def disk(theta: Parameters) -> jax.Array:
            scale_height, C, B = (value_of(v, theta) for v in (settings.scale_height, settings.C, settings.B))
            return lorimer_disk(scale_height, C, B, sky, backend=self._backend)

        return disk

    def _bar(self, template: BarTemplate) -> Callable[[Parameters], jax.Array]:
        settings = template.bar
        sky = self._geometry(
            BarSky,
            {
                "falloff": settings.falloff,
                "sun_kpc": settings.sun_kpc,
                "sun_height_kpc": settings.sun_height_kpc,
                "pitch_deg": settings.pitch,
            },
        )

        def bar(theta: Parameters) -> jax.Array:
            angle, length, ratio_y, ratio_z, c_perp, c_par, radius, width = (
                value_of(v, theta) for v in settings.shape().values()
            )
            y, z = length * ratio_y, length * ratio_z
            return triaxial_bar(angle, length, y, z, c_perp, c_par, radius, width, sky, backend=self._backend)

        return bar

    def _geometry(self, kind: Any, lengths: dict[str, Any]) -> Any:
        """Line-of-sight geometry, built once for all templates that share it."""
        key = (kind, *lengths.values())
        if key not in self._profiles:
            self._profiles[key] = kind.build(self._pixels.lon_deg, self._pixels.lat_deg, **lengths)
        return self._profiles[key]

    def _modulated(self, base: Template, modulation: Modulation) -> Template:
        from scipy.special import sph_harm_y

        polar, azimuth = np.deg2rad(90.0 - self._pixels.lat_deg), np.deg2rad(self._pixels.lon_deg)
        orders = harmonic_orders(modulation.l_max)
        harmonics = np.stack([sph_harm_y(degree, order, polar, azimuth).real for degree, order in orders])
        key = self._store(f"harmonics:{modulation.l_max}", harmonics)
        n_region = self._pixels.n_region

        def modulated(arrays: Arrays, theta: Parameters) -> jax.Array:
            values = base(arrays, theta) * (1.0 + theta[modulation.coefficients] @ arrays[key])
            return values / jnp.mean(values[:n_region])

        return modulated

    def _cut(self, base: Template, hemisphere: str) -> Template:
        """Zero in the other hemisphere, not normalised anew: equal norms north and south give the whole template."""
        inside = (self._pixels.lat_deg >= 0) == (hemisphere == "north")
        key = self._store(f"hemisphere:{hemisphere}", inside.astype(np.float64))
        return lambda arrays, theta: base(arrays, theta) * arrays[key]
