"""From draws of the latent z to what a physicist reads: parameters, fluxes, fractions, maps and dN/dS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.infer.fields import FieldPosterior, field_posterior
from gammasky.engine.model import Density, SkyModel
from gammasky.engine.model.values import Arrays, Parameters
from gammasky.engine.sky.observation import Observation

BATCH = 64  # draws that are evaluated side by side
PRIOR_DRAWS, PRIOR_SEED = 2000, 0  # of derived numbers
MAP_DRAWS = 256  # for the mean of the expected counts
DNDS_DRAWS = 500  # for quantiles of source-count functions

FLUX = "flux"
BIN_FLUX = "bin_flux"
POINT_SOURCE_FRACTION = "point_source_fraction"
FIELD_SD = "field_sd"
LUMINOSITY = "luminosity"
INTENSITY, INTENSITY_UNIT = "intensity", "cm-2 s-1 sr-1"
#: What the derived numbers that results are quoted with are called, by what they are of.
QUOTED = {POINT_SOURCE_FRACTION: "PS fraction ({})", FIELD_SD: "field sd ({})", LUMINOSITY: "{}"}


def derive(model: Density, z: np.ndarray) -> dict[str, np.ndarray]:
    """Work out every parameter and every derived number of each draw.

    Args:
        model: the model.
        z (n, D): draws on the latent space.

    Returns:
        each parameter by name (n, ...); "flux" (n, components) [counts/pixel], the mean of each component over the
        region of interest, in all energy bins together; "point_source_fraction" (n, groups), the share of point sources
        in the flux of a group; with fields "field_sd" (n, fields), the standard deviation of g over the region; with
        luminosity functions "luminosity" (n, numbers), mean luminosities and numbers of sources, see
        `luminosity_names`; with several energy bins "bin_flux" (n, components, E), the flux in each of them.
    """

    def one(point: jax.Array, arrays: Arrays) -> dict[str, jax.Array]:
        theta = model.parameters(point, arrays)
        return {**theta, **_numbers(model, theta, arrays)}

    found = {POINT_SOURCE_FRACTION: np.zeros((len(z), 0)), **_mapped("derive", one, model, z)}
    kinds = [kind for kind in (FLUX, POINT_SOURCE_FRACTION, BIN_FLUX, FIELD_SD, LUMINOSITY) if kind in found]
    return {name: found[name] for name in (*model.latent.slots, *kinds)}


def prior_numbers(model: Density) -> dict[str, np.ndarray]:
    """Work out what the prior says of fluxes and of the derived numbers that results are quoted with.

    Returns:
        of `PRIOR_DRAWS` draws from the prior, always the same, what `derive` gives by these names.
    """
    z = np.random.default_rng(PRIOR_SEED).standard_normal((PRIOR_DRAWS, model.n_latent))
    found = derive(model, z)
    return {kind: found[kind] for kind in (FLUX, *quoted_names(model))}


def _numbers(model: Density, theta: Parameters, arrays: Arrays) -> dict[str, jax.Array]:
    """The derived numbers of one set of parameters, but for those that the model has none of."""
    expectation, sky = model.expectation, model.sky(theta, arrays)
    by_bin = expectation.bin_fluxes(sky) if expectation.bins.n > 1 else {}
    of_sources = expectation.numbers_of_sources(sky, theta)
    found = {
        FLUX: list(expectation.fluxes(sky).values()),
        POINT_SOURCE_FRACTION: list(expectation.point_source_fractions(sky).values()),
        BIN_FLUX: list(by_bin.values()),
        FIELD_SD: [jnp.std(expectation.field(name, theta, arrays["sky"])) for name in expectation.fields],
        LUMINOSITY: [value for told in of_sources.values() for value in told.values()],
    }
    return {kind: jnp.stack(values) for kind, values in found.items() if values}


def luminosity_names(model: Density) -> dict[str, str]:
    """The names of the numbers of populations with a luminosity function, with their units."""
    of_components = model.expectation.names_of_numbers.items()
    return {f"{component}, {name}": unit for component, names in of_components for name, unit in names.items()}


def quoted_names(model: Density) -> dict[str, list[str]]:
    """What the derived numbers that results are quoted with are called, in the order of `derive`'s columns: standard
    deviations of fields, shares of point sources, mean luminosities and numbers of sources."""
    of = {
        FIELD_SD: model.expectation.fields,
        POINT_SOURCE_FRACTION: model.expectation.groups,
        LUMINOSITY: luminosity_names(model),
    }
    return {kind: [QUOTED[kind].format(name) for name in names] for kind, names in of.items() if names}


def quoted_numbers(model: Density, derived: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Draws (n,) of each number of `quoted_names`, by its name."""
    return {
        name: draws
        for kind, names in quoted_names(model).items()
        for name, draws in zip(names, derived[kind].T, strict=True)
    }


def intensity_scale(pixels: Observation) -> float | None:
    """Intensity [cm^-2 s^-1 sr^-1] of one count per pixel; None with several energy bins, where it is not one
    number."""
    return float(1 / pixels.counts_per_intensity[0]) if pixels.n_energy == 1 else None


def reference_exposure(pixels: Observation) -> float | None:
    """Exposure [cm^2 s] at which the source counts S are expected counts; None as above."""
    return float(pixels.reference_exposure[0]) if pixels.n_energy == 1 else None


def true_values(model: SkyModel) -> dict[str, np.ndarray]:
    """List the true values that simulated counts were drawn with, by name of the parameter.

    Where these are all parameters of the model, also the derived numbers that follow.
    """
    given = model.dataset.manifest.truth
    known = {
        name: np.asarray(given[name])
        for name, slot in model.latent.slots.items()
        if name in given and np.shape(given[name]) == slot.shape
    }
    if known and len(known) == len(model.latent.slots):
        theta = {name: jnp.asarray(value) for name, value in known.items()}  # as given: it may be another model's
        known |= {kind: np.asarray(values) for kind, values in _numbers(model, theta, model.arrays).items()}
    return known


def predicted_maps(model: SkyModel, z: np.ndarray) -> dict[str, np.ndarray]:
    """Expected counts (N,) of each component, fitted pixels first, averaged over draws z (k, D) of the latent space."""

    def mean(points: jax.Array, arrays: Arrays) -> dict[str, jax.Array]:
        def add(sums: dict[str, jax.Array], point: jax.Array) -> tuple[dict[str, jax.Array], None]:
            sky = model.sky(model.parameters(point, arrays), arrays)
            return jax.tree.map(jnp.add, sums, model.expectation.counts(sky, arrays["sky"])), None

        start = {component.name: jnp.zeros(model.pixels.n_pixels) for component in model.spec.components}
        sums, _ = jax.lax.scan(add, start, points)
        return jax.tree.map(lambda total: total / len(points), sums)

    found = model.program("predicted maps", lambda: jax.jit(mean))(jnp.asarray(z), model.arrays)
    return {component.name: np.asarray(found[component.name]) for component in model.spec.components}


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a fitted model expects of the sky.

    Attributes:
        counts: expected counts (N,) of each component, fitted pixels first, averaged over draws.
        draws (k,): numbers of the draws that `dnds` is of, evenly spread.
        dnds (k, I, S) [sources per pixel per count]: source-count functions of the populations.
        true_dnds (I, S): the same of the truth of simulated counts, where all of it is known.
        fields: what the draws say of each field, by name.
    """

    counts: dict[str, np.ndarray]
    draws: np.ndarray
    dnds: np.ndarray
    true_dnds: np.ndarray | None
    fields: Mapping[str, FieldPosterior] = field(default_factory=dict)


def predict(model: SkyModel, z: np.ndarray, derived: Mapping[str, np.ndarray]) -> Predictions:
    """Expected counts and dN/dS of draws z (n, D), for which `derive` gave `derived`."""
    draws = spread(len(z), DNDS_DRAWS)
    populations, truth = model.expectation.populations, true_values(model)
    known = FLUX in truth  # only where all parameters are known
    return Predictions(
        predicted_maps(model, z[spread(len(z), MAP_DRAWS)]),
        draws,
        populations.dnds({name: derived[name][draws] for name in model.latent.slots}),
        populations.dnds({name: truth[name][None] for name in model.latent.slots})[0] if known else None,
        {name: field_posterior(model, name, z[spread(len(z), MAP_DRAWS)]) for name in model.expectation.fields},
    )


def spread(size: int, most: int) -> np.ndarray:
    """Numbers of at most `most` of `size` draws, evenly spread."""
    return np.linspace(0, size - 1, min(most, size)).astype(int)


def expected_counts(model: SkyModel, z: np.ndarray) -> np.ndarray:
    """Mean counts (k, P) of the fitted pixels, point sources included, at each of the draws z (k, D)."""

    def one(point: jax.Array, arrays: Arrays) -> jax.Array:
        sky = model.sky(model.parameters(point, arrays), arrays)
        counts = model.expectation.counts(sky, arrays["sky"])
        return jnp.sum(jnp.stack([values[: model.pixels.n_fit] for values in counts.values()]), axis=0)

    counts: np.ndarray = _mapped("expected counts", one, model, z)
    return counts


def _mapped(name: str, one: Callable[[jax.Array, Arrays], Any], model: Density, z: np.ndarray) -> Any:
    """`one` for each draw, in the program `name` of the model."""
    program = model.program(name, lambda: jax.jit(jax.vmap(one, in_axes=(0, None))))
    # the last batch is filled up, so that one program does for any number of draws
    rows = np.minimum(np.arange(BATCH * -(-len(z) // BATCH)), len(z) - 1).reshape(-1, BATCH)
    batches = [jax.tree.map(np.asarray, program(z[batch], model.arrays)) for batch in rows]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(z)], *batches)
