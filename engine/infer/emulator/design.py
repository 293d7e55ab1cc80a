"""The points at which the likelihood is known, and what the network is trained on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.emulator.copy import Copy, white
from gammasky.engine.infer.emulator.target import Target

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
KEPT = 200.0  # nat below the top: points farther down teach nothing of the posterior
_FAR, _SOFT = 25.0, 15.0  # nat below the top from which points count less, and how fast
_DEEPER = 0.25  # both ends are farther down by so many nat for each coefficient of a field: the posterior itself is
_FLOOR = 0.9  # of that depth: where a draw of the copy is put that is farther down
_COUNTS = 0.5  # weight of a point that says how far the copy has been taught
_TOP = 50  # so many points are above the top


@dataclass
class Design:
    """Points with log-likelihoods and their gradients, in order of evaluation.

    Attributes:
        x (n, D), values (n,), gradients (n, D): of the log-likelihood.
        n_block: so many coordinates are coefficients of fields.
        features (n, F), slopes (n, F, P): of the points and their derivatives; of the first `len(features)` points.
    """

    x: Floats
    values: Floats
    gradients: Floats
    n_block: int = 0
    features: list[Floats] = field(default_factory=list)
    slopes: list[Singles] = field(default_factory=list)

    @classmethod
    def empty(cls, size: int, n_block: int = 0) -> Design:
        """No points of `size` coordinates, of which `n_block` are coefficients of fields."""
        return cls(np.zeros((0, size)), np.zeros(0), np.zeros((0, size)), n_block)

    def add(self, target: Target, x: Floats, values: Floats, gradients: Floats, *, floor: bool = False) -> None:
        """Add those points at which everything is finite and that are not far below the top.

        With `floor` those that are far below count, too, as points of a plain at that depth: where a copy is high by
        mistake it is to learn that it is low, which the true depth, and a slope as steep, would teach less well.
        """
        known = np.isfinite(values) & np.isfinite(gradients).all(axis=1) & np.isfinite(x).all(axis=1)
        top = max(np.max(values, initial=-np.inf, where=known), np.max(self.values, initial=-np.inf))
        if floor:
            deep = known & (values <= top - self._kept)
            values = np.where(deep, top - _FLOOR * self._kept, values)
            gradients = np.where(deep[:, None], 0.0, gradients)
        known &= values > top - self._kept
        if known.any():
            self.append(target, x[known], values[known], gradients[known])

    def append(self, target: Target, x: Floats, values: Floats, gradients: Floats) -> None:
        """Add all of these points."""
        features, slopes = target.features_and_slopes(x)
        self.x = np.concatenate([self.x, x])
        self.values = np.concatenate([self.values, values])
        self.gradients = np.concatenate([self.gradients, gradients])
        self.features.append(features)
        self.slopes.append(slopes)

    @property
    def _kept(self) -> float:
        return KEPT + _DEEPER * self.n_block

    @property
    def top(self) -> float:
        """A log-likelihood near the highest, that a few lucky points do not decide."""
        return float(np.sort(self.values)[-min(len(self.values), _TOP)])

    def weights(self) -> Floats:
        """What each point counts (n,): less, the farther it is below the top; 0 for those that count nothing."""
        below = np.maximum(0.0, self.top - self.values - _FAR - _DEEPER * self.n_block)
        return np.where(self.values > self.top - self._kept, 1.0 / (1.0 + (below / _SOFT) ** 2), 0.0)

    def reach(self, target: Target, copy: Copy) -> np.float64:
        """Radius^2 in the frame, with weights of fields, that holds all points that count."""
        points = target.learnt(self.x, self.gradients)[0][self.weights() > _COUNTS]
        return np.float64((white(copy, points) ** 2).sum(axis=1).max())

    def table(self, target: Target, copy: Copy, most: int) -> tuple[int, dict[str, Singles]]:
        """What the network is trained on, filled up to `most` rows: the number of rows that count, and the columns.

        Of more points than `most` the latest are taken.

        Returns:
            n, and psi (most, D + F), slopes (most, F, P) of the features in the first P entries of u (the plain ones;
            they do not depend on others), values, gradients in u and weights.
        """
        weights = self.weights()
        rows = np.flatnonzero(weights)[-most:]
        features, slopes = np.concatenate(self.features)[rows], np.concatenate(self.slopes)[rows]
        scale_tril, middle, spread = (np.asarray(part) for part in (copy.scale_tril, copy.middle, copy.spread))
        n_plain = slopes.shape[2]
        points, gradients = target.learnt(self.x[rows], self.gradients[rows])
        columns = {
            "psi": np.concatenate([white(copy, points), (features - middle) / spread], axis=1),
            "slopes": slopes @ scale_tril[:n_plain, :n_plain].astype(np.float32) / spread[:, None].astype(np.float32),
            "values": self.values[rows] - float(copy.reference),
            "gradients": gradients @ scale_tril,
            "weights": weights[rows],
        }
        filled = {
            name: np.concatenate([column, np.zeros((most - len(rows), *column.shape[1:]))], dtype=np.float32)
            for name, column in columns.items()
        }
        return len(rows), filled

    def quadratic(self, target: Target, copy: Copy) -> tuple[float, Floats, Floats]:
        """Constant, slope (D + F,) and curvature (D + F, D + F) of a quadratic form in u fitted to the gradients."""
        points, gradients = target.learnt(self.x, self.gradients)
        u, gradients, weights = white(copy, points), gradients @ np.asarray(copy.scale_tril), self.weights()
        size = u.shape[1]
        inputs = np.column_stack([np.ones(len(u)), u])
        normal = inputs.T @ (weights[:, None] * inputs) + 1e-3 * weights.sum() * np.eye(size + 1)
        found = np.linalg.solve(normal, inputs.T @ (weights[:, None] * gradients))
        slope, curvature = found[0], (found[1:] + found[1:].T) / 2
        form = u @ slope + 0.5 * np.einsum("ni,ij,nj->n", u, curvature, u)
        constant = float(np.average(self.values - float(copy.reference) - form, weights=weights**2))
        n_inputs = size + len(np.asarray(copy.middle))
        whole_slope, whole_curvature = np.zeros(n_inputs), np.zeros((n_inputs, n_inputs))
        whole_slope[:size], whole_curvature[:size, :size] = slope, curvature
        return constant, whole_slope, whole_curvature
