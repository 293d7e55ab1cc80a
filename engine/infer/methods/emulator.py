"""Learning the likelihood, sampling the copy, weighting by the original."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from gammasky.engine.citation import Citation
from gammasky.engine.infer.methods.method import Method

if TYPE_CHECKING:
    from gammasky.engine.infer.convergence import Convergence
    from gammasky.engine.infer.emulator.scouts import Forward
    from gammasky.engine.infer.evidence import Evidence
    from gammasky.engine.infer.importance import Importance
    from gammasky.engine.infer.verdict import Verdict

Doubts = tuple[list[str], list[str]]  # reasons not to trust draws, and not to quote them yet

_GRADIENTS = 10_000  # about, where 37 parameters are free
_FEWEST = 0.2  # importance efficiency below which the copy is a poor one


class Emulator(Method):
    """A copy of the log-likelihood, learnt from its values and gradients; exact chains with proposals from it."""

    name = "emulator"
    summary = "a minute or two, and reliable where its own checks pass"
    work = "gammasky.engine.infer.stages.emulator:EmulatorStage"
    citations: ClassVar[tuple[Citation, ...]] = (
        Citation(
            "learning a function from its values and derivatives",
            r"""
            @misc{Czarnecki2017,
              author        = {Czarnecki, Wojciech Marian and Osindero, Simon and Jaderberg, Max and others},
              title         = {{Sobolev} Training for Neural Networks},
              year          = {2017},
              eprint        = {1706.04859},
              archivePrefix = {arXiv}
            }
            """,
        ),
        Citation(
            "the evidence of the copy, by annealed importance sampling",
            r"""
            @article{Neal2001,
              author        = {Neal, Radford M.},
              title         = {Annealed importance sampling},
              journal       = {Statistics and Computing},
              volume        = {11},
              pages         = {125--139},
              year          = {2001},
              doi           = {10.1023/A:1008923215028}
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
        del options
        return _GRADIENTS

    @staticmethod
    def verdict(
        weights: Importance,
        test: Forward,
        found: Mapping[str, Convergence],
        mixed: float,
        low: float,
        log_z: Evidence,
        *,
        on_likelihood: bool,
    ) -> Verdict:
        """Judge the draws: reliable needs that every check passes.

        Chains that move on the likelihood itself need no copy that is right everywhere: what is wrong with it is told,
        and held against nothing.

        Args:
            weights: of the pool of the copy's draws.
            test: the last test by chains on the likelihood.
            found: convergence of the exact chains, of every number that is quoted, by name.
            mixed: largest R-hat of the copy's own chains, of any coordinate.
            low: by how much the copy is too low at an optimum that the climbs found, see `low_at_optima` [nat].
            log_z: log Z and its error.
            on_likelihood: whether the exact chains moved on the likelihood itself, too.
        """
        from gammasky.engine.infer.verdict import chain_doubts, chain_numbers, evidence_doubts, judged, weight_numbers

        of_copy = Emulator.on_copy(weights, test)
        numbers = {"the evidence": log_z.log_z, "the error of the evidence": log_z.log_z_error}
        numbers |= {**Emulator.numbers_of_draws(mixed, low), **chain_numbers(found)}
        if on_likelihood:
            known, of_copy = [*of_copy[0], *of_copy[1]], ([], [])
            fine = f"chains that move on the likelihood itself agree in all {len(found)} numbers that are quoted"
            if known:
                fine += f"; the copy alone would not do: {known[0]}"
        else:
            numbers |= {name: value for name, value in weight_numbers(weights).items() if name != "the ELBO"}
            numbers["the coverage by the copy"] = test.coverage
            fine = f"copy and likelihood agree, and so do exact chains, in all {len(found)} numbers that are quoted"
        trouble, doubts = joined(of_copy, Emulator.on_draws(weights, mixed, low), chain_doubts(found))
        doubts += evidence_doubts(log_z.log_z_error)
        return judged(numbers, trouble, doubts, fine, {"method": "auto"})  # chains besides, and log Z of both

    @staticmethod
    def on_copy(weights: Importance, test: Forward) -> Doubts:
        """Say what is held against a copy: why not to trust draws that rest on it, and why not to quote them yet.

        Args:
            weights: of the pool of its draws.
            test: the last test by chains on the likelihood.
        """
        from gammasky.engine.infer.emulator.scouts import MOST_MISSED
        from gammasky.engine.infer.importance import RELIABLE_K_HAT

        trouble: list[str] = []
        doubts: list[str] = []
        if weights.heavy:
            doubts.append(
                f"k-hat of the copy's draws is {weights.k_hat:.2f}, above {RELIABLE_K_HAT}: their weights have a heavy "
                "tail"
            )
        if weights.efficiency < _FEWEST:
            trouble.append(
                f"the copy's draws have an importance efficiency of {weights.efficiency:.0%}, below {_FEWEST:.0%}: "
                "the likelihood was not learnt"
            )
        lacks, misses = test.doubts("copy", MOST_MISSED)
        return trouble + lacks, doubts + misses

    @staticmethod
    def numbers_of_draws(mixed: float, low: float) -> dict[str, float]:
        """The numbers that `on_draws` rests on, by the name that a reader knows."""
        return {"R-hat of the copy's chains": mixed, "what the copy lacks at the optima": low}

    @staticmethod
    def on_draws(weights: Importance, mixed: float, low: float) -> Doubts:
        """Say what is held against draws of a copy, however good it is, in the same way.

        Args:
            weights: of these draws.
            mixed: largest R-hat of the chains that they were drawn by, of any coordinate.
            low: by how much the copy is too low at an optimum [nat].
        """
        import numpy as np

        from gammasky.engine.infer.emulator.mixing import MIXED
        from gammasky.engine.infer.emulator.scouts import MISSED

        trouble: list[str] = []
        doubts: list[str] = []
        if weights.elbo == -np.inf:
            doubts.append(
                f"the likelihood does not exist at {(weights.weights == 0).mean():.1%} of the copy's draws, which "
                "count as impossible"
            )
        if mixed >= MIXED:
            trouble.append(
                f"chains on the copy do not mix (R-hat {mixed:.2f}, not below {MIXED:g}): the posterior may have "
                "several modes, whose shares are not known"
            )
        if low > MISSED:
            doubts.append(
                f"at an optimum that the climbs found the copy is too low by {low:.1f} nat, more than {MISSED:g}: the "
                "posterior may have a mode that no draw is from"
            )
        return trouble, doubts


def joined(*of: Doubts) -> Doubts:
    """All of these, one after another."""
    return [text for trouble, _ in of for text in trouble], [text for _, doubts in of for text in doubts]
