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
        from gammasky.engine.infer.convergence import MOST_DIVERGENT, SMALLEST_ESS
        from gammasky.engine.infer.verdict import chain_doubts, chain_numbers, judged

        numbers = {"the share of divergent trajectories": divergent, **chain_numbers(found)}
        trouble, doubts = chain_doubts(found)
        size = min(of.smallest_ess for of in found.values())
        if divergent >= MOST_DIVERGENT:
            told = doubts if divergent < _BROKEN else trouble
            told.append(f"{divergent:.1%} of the trajectories diverged, not below {MOST_DIVERGENT:.1%}")
        lacking = SMALLEST_ESS / (size if size > 20.0 else 20.0)
        draws = int(math.ceil(options["draws"] * max(1.5, 1.2 * lacking) / 500) * 500)
        remedy = {"method": "nuts", "draws": draws, "warmup": 2 * options["warmup"]}
        return judged(numbers, trouble, doubts, f"{options['chains']} chains from dispersed starts agree", remedy)
