"""The region of interest: which pixels are fitted, and which set the normalisation of templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from gammasky.engine.errors import InputError
from gammasky.engine.sky.maps import NOT_OBSERVED
from gammasky.engine.sky.observation import Observation, exposure_split
from gammasky.engine.sky.schema import Schema, first_problem

if TYPE_CHECKING:
    from gammasky.engine.sky.dataset import Dataset

Longitude = Annotated[float, Field(ge=-360, le=360)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
SourceRadius = Annotated[float, Field(gt=0, le=180)]

NO_LIMIT = {  # the setting with which a limit cuts nothing
    "latitude_min": 0.0, "latitude_max": None, "radius_min": 0.0, "radius_max": 180.0, "longitude_min": None,
    "longitude_max": None, "hemisphere": "all", "side": "all",
}  # fmt: skip


class CatalogueDiscs(Schema):
    """Discs around every source of a catalogue of the dataset."""

    catalogue: str
    radius_deg: SourceRadius = 0.8


class RegionOfInterest(Schema):
    """Cuts in Galactic coordinates, all of which a pixel's centre must pass; limits are included.

    Args:
        latitude_min, latitude_max [deg]: limits of |b|.
        radius_min, radius_max [deg]: limits of the angle to the centre.
        center_lon, center_lat [deg]: the centre of the ring.
        hemisphere: "north" is b >= 0, "south" b < 0.
        side: "east" is l >= 0, "west" l < 0.
        longitude_min, longitude_max [deg]: limits of the signed longitude, l in (-180, 180].
        mask: name or names of masks of the dataset; they take pixels from the fit, not from the normalisation.
        sources: (lon, lat, radius) [deg] discs, or `{catalogue, radius_deg}`; masked like `mask`.
        exposure_regions: number of regions of like exposure, for each energy bin.

    Raises:
        InputError: unknown setting, value out of range or limits in the wrong order.
    """

    latitude_min: Annotated[float, Field(ge=0, lt=90)] = 2.0
    latitude_max: Annotated[float, Field(gt=0, le=90)] | None = None
    radius_min: Annotated[float, Field(ge=0, lt=180)] = 0.0
    radius_max: Annotated[float, Field(gt=0, le=180)] = 25.0
    center_lon: Longitude = 0.0
    center_lat: Latitude = 0.0
    hemisphere: Literal["all", "north", "south"] = "all"
    side: Literal["all", "east", "west"] = "all"
    longitude_min: Annotated[float, Field(ge=-180, le=180)] | None = None
    longitude_max: Annotated[float, Field(ge=-180, le=180)] | None = None
    mask: str | tuple[str, ...] | None = None
    sources: tuple[tuple[Longitude, Latitude, SourceRadius] | CatalogueDiscs, ...] = ()
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
                told = [
                    f"{value:g}" + ("" if f"{name}_{end}" in self.model_fields_set else " (the default)")
                    for end, value in (("min", low), ("max", high))
                ]
                raise ValueError(f"{name}_min must be below {name}_max, got {' and '.join(told)}")
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

    def flatten(self, dataset: Dataset, *, around_deg: float = 0.0) -> Observation:
        """The pixels of the region in `dataset`, and those whose centre is within `around_deg` [deg] of one of them.

        Raises:
            InputError: empty or wholly masked region, pixels without counts, unknown mask or catalogue, too many
                exposure regions.
        """
        lon, lat = pixel_centres(dataset.nside)
        inside = np.flatnonzero(self.contains(lon, lat))
        if not len(inside):
            raise InputError(
                f"region of interest: no pixel of nside {dataset.nside} is inside; {self._emptied(lon, lat)}"
            )
        masked = self._masked(dataset, inside)
        if masked.all():
            raise InputError(f"region of interest: all {len(inside)} pixels are masked; change `mask` or `sources`")
        unseen = int((dataset.counts[:, inside[~masked]] == NOT_OBSERVED).any(axis=0).sum())
        if unseen:
            raise InputError(
                f"region of interest: the counts map was not observed in {unseen} of its {int((~masked).sum())} pixels "
                "(UNSEEN in the file); narrow the region to what was observed, or simulated"
            )
        around = _around(dataset.nside, inside, around_deg)
        n_energy, n_pix = dataset.counts.shape
        dataset.check_exposure((np.concatenate([inside, around]) + n_pix * np.arange(n_energy)[:, None]).ravel())
        return _flatten(dataset, lon, lat, (inside[~masked], inside[masked], around), self.exposure_regions)

    def _emptied(self, lon: np.ndarray, lat: np.ndarray) -> str:
        """Which limits leave no pixel: those without any one of which there would be some, or else all that cut."""
        limits = {name: value for name, value in self if name in NO_LIMIT and value != NO_LIMIT[name]}
        without = {name: self.model_copy(update={name: NO_LIMIT[name]}) for name in limits}
        guilty = [name for name, region in without.items() if region.contains(lon, lat).any()] or list(limits)
        told = [
            f"{name} = {limits[name]}" + (" (the default)" if limits[name] == field.default else "")
            for name, field in type(self).model_fields.items()
            if name in guilty
        ]
        return f"it is emptied by {' and '.join(told)}; widen one of these limits"

    def _masked(self, dataset: Dataset, inside: np.ndarray) -> np.ndarray:
        """Whether a mask or a source takes each of the pixels `inside` (n,) from the fit."""
        import healpy

        masked = np.zeros(12 * dataset.nside**2, dtype=bool)
        for name in self.mask_names:
            masked |= dataset.mask(name, inside)
        for source in self.sources:
            for lon, lat, radius in _discs(source, dataset):
                direction = healpy.ang2vec(lon, lat, lonlat=True)
                masked[healpy.query_disc(dataset.nside, direction, np.deg2rad(radius))] = True
        return masked[inside]


def angular_distance_deg(lon_deg: np.ndarray, lat_deg: np.ndarray, lon0_deg: float, lat0_deg: float) -> np.ndarray:
    """Angle [deg] between positions and one point, by the haversine formula (accurate for small angles)."""
    lat, lat0 = np.deg2rad(lat_deg), np.deg2rad(lat0_deg)
    half_lon = np.deg2rad(np.asarray(lon_deg) - lon0_deg) / 2
    square = np.sin((lat - lat0) / 2) ** 2 + np.cos(lat) * np.cos(lat0) * np.sin(half_lon) ** 2
    return np.rad2deg(2 * np.arcsin(np.sqrt(np.clip(square, 0, 1))))


def pixel_centres(nside: int) -> tuple[np.ndarray, np.ndarray]:
    """Longitude in (-180, 180] and latitude [deg] of every pixel, RING order."""
    import healpy

    lon, lat = healpy.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)
    return np.where(lon > 180, lon - 360, lon), lat


def _discs(source: tuple[float, float, float] | CatalogueDiscs, dataset: Dataset) -> list[tuple[float, float, float]]:
    if isinstance(source, CatalogueDiscs):
        positions = dataset.source_positions(source.catalogue)
        return [(float(lon), float(lat), source.radius_deg) for lon, lat in positions]
    return [source]


def _around(nside: int, inside: np.ndarray, around_deg: float) -> np.ndarray:
    """Pixels that are not among `inside` but whose centre is at most `around_deg` from the centre of one of them."""
    import healpy
    from scipy.spatial import cKDTree

    if around_deg <= 0:
        return np.empty(0, dtype=np.int64)
    others = np.setdiff1d(np.arange(12 * nside**2), inside)
    tree = cKDTree(np.stack(healpy.pix2vec(nside, inside), axis=1))
    chord = 2 * np.sin(np.deg2rad(min(around_deg, 180.0)) / 2)
    distance, _ = tree.query(np.stack(healpy.pix2vec(nside, others), axis=1), distance_upper_bound=chord * (1 + 1e-12))
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
    splits = [exposure_split(exposure[fitted], n_regions) for exposure in dataset.exposure]
    means = np.array([means for _, means in splits])
    reference = means.mean(axis=1)
    n_fit = n_energy * len(fitted)
    return Observation(
        nside=dataset.nside,
        energy_edges_gev=dataset.energy_edges_gev,
        psf=(dataset.psf,) * n_energy,
        index=index,
        lon_deg=lon[index % n_pix],
        lat_deg=lat[index % n_pix],
        n_fit=n_fit,
        n_region=n_energy * (len(fitted) + len(masked)),
        counts=dataset.counts.ravel()[index[:n_fit]],
        exposure=dataset.exposure.ravel()[index],
        region=np.concatenate([e * n_regions + region for e, (region, _) in enumerate(splits)]),
        exposure_ratios=(means / reference[:, None]).ravel(),
        reference_exposure=reference,
    )
