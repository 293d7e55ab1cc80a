"""What a fit ends in, whatever the method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.climb import for_each_batch
from gammasky.engine.infer.fitted_guide import FittedGuide
from gammasky.engine.infer.importance import Importance
from gammasky.engine.infer.optimise import Laplace
from gammasky.engine.infer.verdict import Verdict, unless_finite

if TYPE_CHECKING:
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
T = TypeVar("T")
BATCH = 50  # draws whose likelihoods are evaluated at once, between two looks at interrupts


@dataclass(frozen=True, eq=False)
class Fit:
    """The result of a fit.

    Attributes:
        method: laplace, emulator, svi, nuts or auto.
        status: of a variational fit "converged" (the ELBO is flat: see `is_flat`) or "stopped" (it still rose, has
            fallen, or the steps are too few to tell): of the optimiser, not of the guide, whose flat ELBO does not say
            that it can hold the posterior. Of every other method "finished".
        z (n, D), log_likelihood (n,): draws, all with equal weight but for `weights`; chain after chain.
        log_guide (n,): log density of the guide that the draws came from; None where there is none.
        derived: parameters and derived quantities of the draws, by name.
        guide: that guide, which draws and evaluates more at no cost; None where there is none.
        elbo (steps,): bound of each optimiser step; empty for methods without steps.
        verdict: how far to trust the draws; diagnostics: the numbers behind it, by name.
        told_only: names of diagnostics that are told, but that the verdict does not rest on.
        laplace: the best point and the curvature there.
        chains: number of chains that the draws are of; 1 where they are independent.
        weights: importance weights of the draws; None where they need none.
        stages: diagnostics and marginals of the methods that a fit was made of, in order.
        seconds: wall time over all runs.
    """

    method: str
    status: str
    z: Floats
    log_likelihood: Floats
    log_guide: Floats | None
    derived: dict[str, Floats]
    elbo: Floats
    verdict: Verdict
    diagnostics: dict[str, Any]
    laplace: Laplace
    chains: int = 1
    weights: Importance | None = None
    guide: FittedGuide | None = None
    stages: tuple[dict[str, Any], ...] = field(default=())
    seconds: float = 0.0
    told_only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """No fit that rests on a number that is not finite keeps a better verdict than *unreliable*."""
        numbers: dict[str, Any] = {f"draws of {name}": values for name, values in self.derived.items()}
        numbers |= {"latent draws": self.z, "log-likelihoods of the draws": self.log_likelihood}
        if self.log_guide is not None:
            numbers["log densities of the guide"] = self.log_guide
        if self.weights is not None:
            numbers["importance weights"] = self.weights.weights
        if self.verdict.level != "unreliable":  # which has named what it found
            held = {name: value for name, value in self.diagnostics.items() if name not in self.told_only}
            numbers |= {name: value for name, value in held.items() if isinstance(value, float)}
        object.__setattr__(self, "verdict", unless_finite(self.verdict, numbers))


def log_prior(z: Floats) -> Floats:
    """log N(z; 0, 1) (n,) of draws z (n, D)."""
    return -0.5 * (z**2).sum(axis=-1) - 0.5 * z.shape[-1] * np.log(2 * np.pi)


def log_likelihoods(model: Density, z: Floats, *, checked: bool = True) -> Floats:
    """Log-likelihood (n,) of draws z (n, D).

    Raises:
        NonFiniteLikelihoodError: at one of them, if `checked`; names the pixel and the parameters.
    """

    def evaluate(arrays: Any, points: jax.Array) -> jax.Array:
        one = lambda point: model.log_likelihood(model.parameters(point, arrays), arrays)  # noqa: E731
        return jax.vmap(one)(points)

    program = model.program("log-likelihoods", lambda: jax.jit(evaluate))
    found = np.empty(len(z))

    def batch(number: int) -> None:
        # the last batch is filled up, so that one program does for any number of draws
        rows = np.minimum(np.arange(number * BATCH, (number + 1) * BATCH), len(z) - 1)
        found[rows] = np.asarray(program(model.arrays, z[rows]))

    for_each_batch(batch, -(-len(z) // BATCH))
    if checked and not np.isfinite(found).all():
        raise model.explain(model.parameters(z[int(np.argmin(np.isfinite(found)))]))
    return found


def marginals(model: Density, derived: dict[str, Floats]) -> dict[str, Floats]:
    """Draws (n,) by name of every parameter, element by element but for blocks, and of the derived numbers that results
    are quoted with."""
    from gammasky.engine.infer.derived import quoted_numbers

    columns: dict[str, Floats] = {}
    for name, slot in model.latent.slots.items():
        if not slot.block:
            values = derived[name].reshape(len(derived[name]), -1)
            columns |= dict(zip(slot.names, values.T, strict=True))
    return columns | quoted_numbers(model, derived)


def quoted(model: Density, numbers: dict[str, T]) -> dict[str, T]:
    """Keep the numbers that results are quoted with: main parameters, point-source fractions, standard deviations of
    fields, mean luminosities and numbers of sources."""
    from gammasky.engine.infer.derived import quoted_names

    kept = {*model.main_parameters(), *(name for names in quoted_names(model).values() for name in names)}
    return {name: value for name, value in numbers.items() if name in kept}
