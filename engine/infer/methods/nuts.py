"""Markov chains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from gammasky.engine.citation import Citation
from gammasky.engine.infer.methods.method import Method
from gammasky.engine.infer.option import Option

if TYPE_CHECKING:
    from gammasky.engine.infer.convergence import Convergence
    from gammasky.engine.infer.verdict import Verdict

_LEAPFROGS = 30  # of one iteration, about
_SPLIT_R_HAT = 1.05  # above: the chains are in different places
_BROKEN = 0.02  # share of divergent trajectories above which draws are biased


class Nuts(Method):
    """The No-U-Turn sampler, from dispersed starts."""

    name = "nuts"
    summary = "many minutes; the arbiter"
    work = "gammasky.engine.infer.stages.nuts:NutsStage"
    options: ClassVar[Mapping[str, Option]] = {
        "chains": Option(4, "chains, all in step", int, low=2),
        "warmup": Option(400, "iterations of each chain to learn from", int, low=50),
        "draws": Option(1000, "iterations of each chain to keep", int, low=50),
    }

    citations = (
        Citation(
            "the No-U-Turn sampler",
            r"""
            @article{Hoffman2014,
              author        = {Hoffman, Matthew D. and Gelman, Andrew},
              title         = {The {No-U-Turn} Sampler: Adaptively Setting Path Lengths in {Hamiltonian} {Monte Carlo}},
              journal       = {Journal of Machine Learning Research},
              volume        = {15},
              pages         = {1593--1623},
              year          = {2014},
              eprint        = {1111.4246},
              archivePrefix = {arXiv}
            }
            """,
        ),
        Citation(
            "the implementation of the sampler",
            r"""
            @misc{Cabezas2024,
              author        = {Cabezas, Alberto and Corenflos, Adrien and Lao, Junpeng and Louf, R{\'e}mi},
              title         = {{BlackJAX}: Composable {Bayesian} inference in {JAX}},
              year          = {2024},
              eprint        = {2402.10797},
              archivePrefix = {arXiv}
            }
            """,
        ),
    )

    @classmethod
    def cited(cls, options: Mapping[str, Any]) -> tuple[Citation, ...]:
        from gammasky.engine.infer import convergence

        return (*super().cited(options), *convergence.CITATIONS)

    @staticmethod
    def gradients(options: Mapping[str, Any]) -> int:
        return int(options["chains"] * (options["warmup"] + options["draws"]) * _LEAPFROGS)

    @staticmethod
    def verdict(found: Mapping[str, Convergence], divergent: float, options: Mapping[str, Any]) -> Verdict:
        """Judge the chains: they are reliable if they agree and have moved enough.

        Args:
            found: convergence of every number that is quoted, by name.
            divergent: share of divergent trajectories.
            options: settings of the chains.
        """
        from gammasky.engine.infer.convergence import LARGEST_R_HAT, MOST_DIVERGENT, SMALLEST_ESS
        from gammasky.engine.infer.verdict import judged

        trouble: list[str] = []
        doubts: list[str] = []
        numbers = {"the share of divergent trajectories": divergent}
        numbers |= {f"R-hat of {name}": of.r_hat for name, of in found.items()}
        numbers |= {f"the effective sample size of {name}": of.ess_bulk for name, of in found.items()}
        numbers |= {f"the effective sample size of the tails of {name}": of.ess_tail for name, of in found.items()}
        worst = max(found, key=lambda name: found[name].r_hat)
        slowest = min(found, key=lambda name: found[name].smallest_ess)
        r_hat, size = found[worst].r_hat, found[slowest].smallest_ess
        if r_hat >= LARGEST_R_HAT:
            told = doubts if r_hat < _SPLIT_R_HAT else trouble
            told.append(f"R-hat of {worst} is {r_hat:.3f}, not below {LARGEST_R_HAT}: the chains disagree")
        if size < SMALLEST_ESS:
            doubts.append(f"{slowest} has an effective sample size of {size:.0f}, below {SMALLEST_ESS:.0f}")
        if divergent >= MOST_DIVERGENT:
            told = doubts if divergent < _BROKEN else trouble
            told.append(f"{divergent:.1%} of the trajectories diverged, not below {MOST_DIVERGENT:.1%}")
        lacking = SMALLEST_ESS / (size if size > 20.0 else 20.0)
        draws = int(math.ceil(options["draws"] * max(1.5, 1.2 * lacking) / 500) * 500)
        remedy = {"method": "nuts", "draws": draws, "warmup": 2 * options["warmup"]}
        return judged(numbers, trouble, doubts, f"{options['chains']} chains from dispersed starts agree", remedy)
