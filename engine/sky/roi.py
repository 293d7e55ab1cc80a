"""The region of interest: which pixels are fitted, and which set the normalisation of templates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from gammasky.engine.errors import InputError
from gammasky.engine.sky.maps import NOT_OBSERVED
from gammasky.engine.sky.observation import Observation, exposure_split
from gammasky.engine.sky.pixels import Pixels
from gammasky.engine.sky.pixels.frames import vectors_of
from gammasky.engine.sky.schema import Schema, first_problem
from gammasky.engine.sky.source_maps import containment_radius_deg, leakage_radius_deg

if TYPE_CHECKING:
    from gammasky.engine.sky.dataset import Dataset

Longitude = Annotated[float, Field(ge=-360, le=360)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
SourceRadius = Annotated[float, Field(gt=0, le=180)]

CUTS = (
    "latitude_min", "latitude_max", "radius_min", "radius_max", "longitude_min", "longitude_max", "hemisphere", "side",
)  # fmt: skip


class CatalogueDiscs(Schema):
    """Discs around the sources of a catalogue of the dataset; of extended ones larger by their extent.

    Args:
        catalogue: name of the catalogue among the `sources` of the dataset.
        radius_deg [deg]: radius of all discs; 0.8 where nothing else is said.
        containment: in place of a radius the fraction of a source's photons that a disc holds in every energy bin.
        leakage: in place of a radius how many photons of all energy bins a source may leave outside its disc, by its
            flux, the exposure at its place and the PSF of each bin; a source that has fewer in all has no disc.
    """

    catalogue: str
    radius_deg: SourceRadius | None = None
    containment: Annotated[float, Field(gt=0, lt=1)] | None = None
    leakage: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_size(self) -> CatalogueDiscs:
        given = [name for name in ("radius_deg", "containment", "leakage") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} both say how large the discs are; give one of them")
        return self

    def discs(self, dataset: Dataset) -> np.ndarray:
        """Position and radius (n, 3) [deg] of the discs.

        Raises:
            InputError: no such catalogue, or one that cannot be used so.
        """
        catalogue = dataset.catalogue(self.catalogue)
        lon, lat = catalogue.lon_deg, catalogue.lat_deg
        if self.leakage is not None:
            edges = dataset.energy_edges_gev
            fluxes = np.stack([catalogue.flux_in(low, high) for low, high in pairwise(edges.tolist())])
            at = dataset.pixels.find(vectors_of(lon, lat))
            photons = np.nan_to_num(np.where(at >= 0, fluxes * dataset.exposure[:, at], 0.0))
            radius = leakage_radius_deg(dataset.psfs, photons, self.leakage)
            radius[photons.sum(axis=0) <= self.leakage] = -1.0
        elif self.containment is not None:
            widest = max(containment_radius_deg(psf, np.array([self.containment]))[0] for psf in dataset.psfs)
            radius = np.full(len(lon), widest)
        else:
            radius = np.full(len(lon), 0.8 if self.radius_deg is None else self.radius_deg)
        kept = radius >= 0
        return np.stack([lon, lat, np.minimum(radius + catalogue.extent_deg, 180.0)], axis=1)[kept]


def _kind_of_discs(value: Any) -> str:
    return "of a catalogue" if isinstance(value, dict | CatalogueDiscs) else "one disc"


Discs = Annotated[
    Annotated[tuple[Longitude, Latitude, SourceRadius], Tag("one disc")]
    | Annotated[CatalogueDiscs, Tag("of a catalogue")],
    Discriminator(_kind_of_discs),
]


class RegionOfInterest(Schema):
    """Cuts in Galactic coordinates, all of which a pixel's centre must pass; limits are included. By default none cuts.

    Args:
        latitude_min, latitude_max [deg]: limits of |b|.
        radius_min, radius_max [deg]: limits of the angle to the centre.
        center_lon, center_lat [deg]: the centre of the ring.
        hemisphere: "north" is b >= 0, "south" b < 0.
        side: "east" is l >= 0, "west" l < 0.
        longitude_min, longitude_max [deg]: limits of the signed longitude, l in (-180, 180].
        mask: name or names of masks of the dataset; they take pixels from the fit, not from the normalisation.
        sources: (lon, lat, radius) [deg] discs, or `CatalogueDiscs`; masked like `mask`.
        exposure_regions: number of regions of like exposure, the same places in every energy bin.

    Raises:
        InputError: unknown setting, value out of range or limits in the wrong order.
    """

    latitude_min: Annotated[float, Field(ge=0, lt=90)] = 0.0
    latitude_max: Annotated[float, Field(gt=0, le=90)] | None = None
    radius_min: Annotated[float, Field(ge=0, lt=180)] = 0.0
    radius_max: Annotated[float, Field(gt=0, le=180)] = 180.0
    center_lon: Longitude = 0.0
    center_lat: Latitude = 0.0
    hemisphere: Literal["all", "north", "south"] = "all"
    side: Literal["all", "east", "west"] = "all"
    longitude_min: Annotated[float, Field(ge=-180, le=180)] | None = None
    longitude_max: Annotated[float, Field(ge=-180, le=180)] | None = None
    mask: str | tuple[str, ...] | None = None
    sources: tuple[Discs, ...] = ()
    exposure_regions: Annotated[int, Field(ge=1)] = 7

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            known = frozenset(type(self).model_fields) | frozenset(CatalogueDiscs.model_fields)
            raise InputError(f"region of interest: {first_problem(error, known, settings)}") from None

    @model_validator(mode="after")
    def _limits_in_order(self) -> RegionOfInterest:
        for name in ("latitude", "radius", "longitude"):
            low, high = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if low is not None and high is not None and low >= high:
                raise ValueError(f"{name}_min must be below {name}_max, got {low:g} and {high:g}")
        return self

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Names of the masks of the data set that it uses."""
        return (self.mask,) if isinstance(self.mask, str) else self.mask or ()

    @property
    def catalogue_names(self) -> tuple[str, ...]:
        """Names of the catalogues of the data set that it uses."""
        return tuple(source.catalogue for source in self.sources if isinstance(source, CatalogueDiscs))

    def contains(self, lon_deg: np.ndarray, lat_deg: np.ndarray) -> np.ndarray:
        """Whether each position (lon in (-180, 180], lat) [deg] is in the region, masks aside."""
        distance = angular_distance_deg(lon_deg, lat_deg, self.center_lon, self.center_lat)
        inside = (distance >= self.radius_min) & (distance <= self.radius_max) & (np.abs(lat_deg) >= self.latitude_min)
        if self.latitude_max is not None:
            inside &= np.abs(lat_deg) <= self.latitude_max
        if self.longitude_min is not None:
            inside &= lon_deg >= self.longitude_min
        if self.longitude_max is not None:
            inside &= lon_deg <= self.longitude_max
        for choice, positive, value in ((self.hemisphere, "north", lat_deg), (self.side, "east", lon_deg)):
            if choice != "all":
                inside &= (value >= 0) == (choice == positive)
        return inside

    def flatten(self, dataset: Dataset, *, around_deg: float = 0.0, maps: Iterable[str] = ()) -> Observation:
        """The pixels of the region in `dataset`, and those whose centre is within `around_deg` [deg] of one of them.

        Of those around it only the ones with an exposure, and with a value of each of the templates `maps`, are taken:
        a data set may end where its region does. The others are counted in `Observation.unknown_around`.

        Raises:
            InputError: empty or wholly masked region, pixels without counts, unknown mask or catalogue, too many
                exposure regions.
        """
        lon, lat = dataset.pixels.galactic
        inside = np.flatnonzero(self.contains(lon, lat))
        if not len(inside):
            raise InputError(
                f"region of interest: no pixel is inside ({dataset.pixels.name}); {self._emptied(lon, lat)}"
            )
        by = self._masked_by(dataset, inside)
        masked = np.any(list(by.values()), axis=0) if by else np.zeros(len(inside), dtype=bool)
        if masked.all():
            left = ", ".join(f"{name} leaves {int((~pixels).sum())}" for name, pixels in by.items())
            raise InputError(
                f"region of interest: all {len(inside)} pixels are masked; change `mask` or `sources` ({left})"
            )
        unseen = int((dataset.counts[:, inside[~masked]] == NOT_OBSERVED).any(axis=0).sum())
        if unseen:
            raise InputError(
                f"region of interest: the counts map was not observed in {unseen} of its {int((~masked).sum())} pixels "
                "(UNSEEN in the file); narrow the region to what was observed, or simulated"
            )
        n_energy, n_pix = dataset.counts.shape
        dataset.check_exposure((inside + n_pix * np.arange(n_energy)[:, None]).ravel())
        wanted = _around(dataset.pixels, inside, around_deg)
        exposure = dataset.exposure[:, wanted]
        known = (np.isfinite(exposure) & (exposure > 0)).all(axis=0)
        if len(wanted):
            for name in maps:
                known &= ~np.isnan(dataset.template(name)[:, wanted]).any(axis=0)
        around = wanted[known]
        found = _flatten(dataset, lon, lat, (inside[~masked], inside[masked], around), self.exposure_regions)
        return replace(found, unknown_around=len(wanted) - len(around))

    def _emptied(self, lon: np.ndarray, lat: np.ndarray) -> str:
        """Which cuts are in force, and how many pixels each of them would leave alone."""
        fields = type(self).model_fields
        in_force = [name for name in CUTS if getattr(self, name) != fields[name].default]
        none = self.model_copy(update={name: fields[name].default for name in CUTS})
        told = []
        for name in in_force:
            alone = none.model_copy(update={name: getattr(self, name)})
            told.append(f"{name} = {getattr(self, name)} alone leaves {int(alone.contains(lon, lat).sum())}")
        return f"of {int(np.isfinite(lon).sum())} pixels {', '.join(told)}; widen one of these cuts"

    def _masked_by(self, dataset: Dataset, inside: np.ndarray) -> dict[str, np.ndarray]:
        """Whether each mask, and all sources together, take each of the pixels `inside` (n,) from the fit."""
        from scipy.spatial import cKDTree

        masked = {f"mask '{name}'": dataset.mask(name, inside)[inside] for name in self.mask_names}
        discs = np.concatenate([_discs(source, dataset) for source in self.sources] or [np.empty((0, 3))])
        if len(discs):
            lon, lat = dataset.pixels.galactic
            tree = cKDTree(vectors_of(lon[inside], lat[inside]))
            chords = 2 * np.sin(np.deg2rad(discs[:, 2]) / 2)
            found = tree.query_ball_point(vectors_of(discs[:, 0], discs[:, 1]), chords)
            masked["sources"] = np.isin(np.arange(len(inside)), np.concatenate([*found, []]).astype(np.int64))
        return masked


def angular_distance_deg(lon_deg: np.ndarray, lat_deg: np.ndarray, lon0_deg: float, lat0_deg: float) -> np.ndarray:
    """Angle [deg] between positions and one point, by the haversine formula (accurate for small angles)."""
    lat, lat0 = np.deg2rad(lat_deg), np.deg2rad(lat0_deg)
    half_lon = np.deg2rad(np.asarray(lon_deg) - lon0_deg) / 2
    square = np.sin((lat - lat0) / 2) ** 2 + np.cos(lat) * np.cos(lat0) * np.sin(half_lon) ** 2
    return np.rad2deg(2 * np.arcsin(np.sqrt(np.clip(square, 0, 1))))


def _discs(source: tuple[float, float, float] | CatalogueDiscs, dataset: Dataset) -> np.ndarray:
    """Position and radius (n, 3) [deg] of discs."""
    return source.discs(dataset) if isinstance(source, CatalogueDiscs) else np.array([source], dtype=np.float64)


def _around(pixels: Pixels, inside: np.ndarray, around_deg: float) -> np.ndarray:
    """Pixels that are not among `inside` but whose centre is at most `around_deg` from the centre of one of them."""
    from scipy.spatial import cKDTree

    if around_deg <= 0:
        return np.empty(0, dtype=np.int64)
    lon, lat = pixels.galactic
    others = np.setdiff1d(np.flatnonzero(np.isfinite(lon)), inside)
    tree = cKDTree(vectors_of(lon[inside], lat[inside]))
    chord = 2 * np.sin(np.deg2rad(min(around_deg, 180.0)) / 2)
    distance, _ = tree.query(vectors_of(lon[others], lat[others]), distance_upper_bound=chord * (1 + 1e-12))
    return others[np.isfinite(distance)]


def _flatten(
    dataset: Dataset,
    lon: np.ndarray,
    lat: np.ndarray,
    groups: tuple[np.ndarray, np.ndarray, np.ndarray],
    n_regions: int,
) -> Observation:
    """Lay the fitted, then the masked pixels and then those around the region, of every energy bin, side by side."""
    fitted, masked, _ = groups
    n_energy, n_pix = dataset.counts.shape
    offsets = n_pix * np.arange(n_energy)[:, None]
    index = np.concatenate([(offsets + group).ravel() for group in groups])
    region, means = exposure_split(dataset.exposure[:, fitted], n_regions)
    reference = means.mean(axis=1)
    n_fit = n_energy * len(fitted)
    return Observation(
        grid=dataset.pixels,
        energy_edges_gev=dataset.energy_edges_gev,
        psf=dataset.psfs,
        index=index,
        lon_deg=lon[index % n_pix],
        lat_deg=lat[index % n_pix],
        n_fit=n_fit,
        n_region=n_energy * (len(fitted) + len(masked)),
        counts=dataset.counts.ravel()[index[:n_fit]],
        exposure=dataset.exposure.ravel()[index],
        region=np.concatenate([e * n_regions + region for e in range(n_energy)]),
        exposure_ratios=(means / reference[:, None]).ravel(),
        reference_exposure=reference,
    )
