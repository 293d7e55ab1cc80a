"""A sky model: a description fitted to a data set, as one log density."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.card import as_picture, card
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.kernels import callbacks
from gammasky.engine.model.density import Density, digest_of
from gammasky.engine.model.expectation import Expectation
from gammasky.engine.model.latent import Latent
from gammasky.engine.model.parameters import block_parameters, parameter_labels
from gammasky.engine.model.spec import ModelSpec, read_model
from gammasky.engine.model.terms import JointNptfTerm, NptfTerm, PoissonTerm
from gammasky.engine.model.values import Parameters
from gammasky.engine.sky.dataset import Dataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SkyModel(Density):
    """The counts of a data set under a model.

    For pixel p with smooth mean mu_p = sum_j S_j T_jp and populations i of point sources with template T_ip and
    source-count function (dN/dS)_i, the log-likelihood is sum_p log p(k_p | mu_p, T_p, dN/dS) (NPTF; Poisson without
    populations); with source-count functions of flux, that of the counts in all energy bins together.

    Args:
        spec: the model, a preset's name or a TOML file.
        dataset: an open data set.
        backend: of the kernels: "numba", "cuda", "reference" (plain JAX), or "auto": see `callbacks.choose`.

    Attributes:
        spec: the model.
        dataset: where counts and maps come from.
        pixels: what was seen: the pixels of the region, the first P of which are fitted, with their counts.

    Raises:
        InputError: a model that does not fit the data set; names the component or parameter.

    Example:
        >>> import gammasky
        >>> gammasky.configure()
        >>> model = gammasky.SkyModel("calibration", gammasky.Dataset.open("demo"))
        >>> model
        <SkyModel calibration on demo: 3 components, 6 parameters (6 numbers), 416 pixels, 13,596 photons>
        >>> value, gradient = model.value_and_gradient([0.0] * model.n_latent)  # every parameter at its prior median
        >>> round(float(value), 2), gradient.shape
        (-2265.0, (6,))
    """

    def __init__(self, spec: ModelSpec | str | Path, dataset: Dataset, *, backend: str = "auto") -> None:
        backend = callbacks.choose(backend)
        if jnp.asarray(0.0).dtype != jnp.float64:
            raise InputError("JAX works in single precision: call gammasky.configure() before anything else")
        self.spec = spec if isinstance(spec, ModelSpec) else read_model(spec)
        self.dataset, self.backend = dataset, backend
        labels = parameter_labels(self.spec, dataset.energy_edges_gev)
        latent = Latent(self.spec.parameters, labels, block_parameters(self.spec))
        self.pixels = self.spec.region.flatten(dataset)
        expectation = Expectation(self.spec, dataset, self.pixels, backend)
        of_sources = JointNptfTerm if self.spec.source_grid.in_flux else NptfTerm
        of_counts = of_sources if self.spec.populations else PoissonTerm
        terms = [term.build(expectation) for term in self.spec.terms]
        super().__init__(latent, expectation, of_counts(expectation, backend), terms)

    def with_counts(self, counts: np.ndarray, *more: np.ndarray) -> SkyModel:
        other = super().with_counts(counts, *more)
        other.pixels = self.pixels.with_counts(other.counts_term.counts)
        return other

    @property
    def identity(self) -> dict[str, str]:
        """List what makes two models of data the same: digests of description, observation and templates.

        All are of contents: where files lie, what they are called and which others the data set has makes no
        difference. Where further likelihood terms hold numbers, there is a digest of these, too.
        """
        templates = hashlib.sha256()
        for name, values in sorted(self.expectation.arrays["templates"].items()):
            templates.update(name.encode() + np.asarray(values).tobytes())
        return {
            "model": digest_of(self.spec),
            "observation": self._seen(),
            "templates": templates.hexdigest(),
            **self._of_terms(),
        }

    def _of_terms(self) -> dict[str, str]:
        """Digest of the numbers of further likelihood terms, which they may have read from files; none without any."""
        digest, numbers = hashlib.sha256(), jax.tree_util.tree_leaves_with_path(self.arrays["terms"])
        for place, leaf in numbers:
            values = np.asarray(leaf)
            digest.update(f"{jax.tree_util.keystr(place)} {values.dtype} {values.shape} ".encode() + values.tobytes())
        return {"terms": digest.hexdigest()} if numbers else {}

    def _seen(self) -> str:
        """Digest of what was seen, in all looks at the sky."""
        digest = hashlib.sha256(self.pixels.digest.encode())
        for plan in self.arrays["counts"]["plans"]:
            digest.update(np.asarray(plan.counts).tobytes())
        return digest.hexdigest()

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of the files that the model was made from, by file name."""
        region = self.spec.region
        return self.dataset.checksums_of(self.spec.maps, region.mask_names, region.catalogue_names)

    def plot(self, component: str | None = None, theta: Mapping[str, Any] | None = None) -> Figure:
        """A map of the expected counts in the fitted pixels, energy bins added up, in Galactic coordinates.

        Args:
            component: by name; None: all components together.
            theta: the parameters; None: the median of every prior.

        Raises:
            InputError: no such component, or parameters as of `point`.
        """
        from gammasky.engine.sky import sky_map

        names = [known.name for known in self.spec.components]
        if component is not None and component not in names:
            raise unknown_name("component", component, names)
        point = self.parameters(jnp.zeros(self.n_latent)) if theta is None else self.point(theta)
        counts = self.expectation.counts(self.sky(point), self.arrays["sky"])
        chosen = np.stack([counts[name] for name in (names if component is None else [component])])
        sky = self.pixels.to_map(chosen[:, : self.pixels.n_fit].sum(axis=0)).sum(axis=0)
        title = f"{self.spec.name}: {component or 'all components'}"
        return as_picture(sky_map.draw(sky, self.pixels.grid, title, "expected counts per pixel"))

    def __repr__(self) -> str:
        n_fit, bins = self.pixels.n_fit, self.pixels.n_energy
        return (
            f"<SkyModel {self.spec.name} on {self.dataset.name}: {len(self.spec.components)} components, "
            f"{len(self.spec.parameters)} parameters ({self.n_latent} numbers), {n_fit // bins:,} pixels"
            f"{f' in {bins} energy bins' if bins > 1 else ''}, {int(self.pixels.counts.sum()):,} photons>"
        )

    def _repr_html_(self) -> str:
        spec, pixels = self.spec, self.pixels
        components = [
            [
                component.name,
                "point sources" if component.of_sources else "smooth",
                component.template.label(),
                str(component.norm if component.amplitude is None else component.amplitude),
                component.group,
            ]
            for component in spec.components
        ]
        priors = [[name, prior.in_words(), prior.unit] for name, prior in spec.parameters.items()]
        facts = {
            "data": f"{self.dataset.name}, {pixels.n_fit:,} fitted pixels, {int(pixels.counts.sum()):,} photons",
            "latent numbers": str(self.n_latent),
            "reference": spec.reference or "none",
        }
        tables = [
            {"caption": "Components", "headings": ["", "kind", "template", "norm", "group"], "rows": components},
            {"caption": "Parameters", "headings": ["", "prior", "unit"], "rows": priors},
        ]
        return card(spec.name, spec.description, facts, tables)

    def point(self, values: Mapping[str, Any]) -> Parameters:
        """Parameters from plain numbers; they may lie outside their priors.

        Raises:
            InputError: a name that is missing or unknown, a wrong length, a value that is not a finite number,
                fractions that do not add up to 1, breaks out of order.
        """
        slots = self.latent.slots
        for name in values:
            if name not in slots:
                raise unknown_name("parameter", name, slots)
        for name in slots:
            if name not in values:
                raise InputError(f"parameter '{name}' is missing; give all of {', '.join(slots)}")
        point = {name: _numbers(name, values[name], slot.shape) for name, slot in slots.items()}
        for name, slot in slots.items():
            slot.prior.require_possible(name, np.asarray(point[name]))
        for component in self.spec.populations:
            for of_sources in (component.source_counts, component.luminosity):
                if of_sources is not None:
                    of_sources.require_point(f"component '{component.name}'", point)
        return point

    def require_inside_priors(self, theta: Parameters) -> None:
        """Refuse parameters that their priors exclude.

        Raises:
            InputError: names the parameter, the limits of its prior and the value.
        """
        for name, prior in self.spec.parameters.items():
            prior.require_inside(name, np.asarray(theta[name], dtype=np.float64))


def _numbers(name: str, value: Any, shape: tuple[int, ...]) -> jax.Array:
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"parameter '{name}': expected numbers, got {value!r:.60}") from None
    if numbers.shape != shape:
        expected = f"a list of {shape[0]} numbers" if shape else "one number"
        raise InputError(f"parameter '{name}': expected {expected}, got {value!r:.60}")
    if not np.isfinite(numbers).all():
        raise InputError(f"parameter '{name}': expected finite numbers, got {value!r:.60}")
    return jnp.asarray(numbers)
