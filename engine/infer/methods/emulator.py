"""Learning the likelihood, sampling the copy, weighting by the original."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from gammasky.engine.citation import Citation
from gammasky.engine.infer.methods.method import Method

if TYPE_CHECKING:
    from gammasky.engine.infer.convergence import Convergence
    from gammasky.engine.infer.emulator.scouts import Forward
    from gammasky.engine.infer.importance import Importance
    from gammasky.engine.infer.verdict import Verdict

Doubts = tuple[list[str], list[str]]  # reasons not to trust draws, and not to quote them yet

_GRADIENTS = 10_000  # about, where 37 parameters are free
_FEWEST = 0.2  # importance efficiency below which the copy is a poor one
_LARGEST_ERROR = 0.2  # of log Z


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
        weights: Importance, test: Forward, found: Mapping[str, Convergence], mixed: float, log_z: tuple[float, float]
    ) -> Verdict:
        """Judge the draws: reliable needs that every check passes.

        Args:
            weights: of the pool of the copy's draws.
            test: the last test by chains on the likelihood.
            found: convergence of the exact chains, of every number that is quoted, by name.
            mixed: largest R-hat of the copy's own chains, of any coordinate.
            log_z: log Z and its error.
        """
        from gammasky.engine.infer.verdict import chain_doubts, chain_numbers, judged, weight_numbers

        trouble, doubts = (
            of + more for of, more in zip(Emulator.on_copy(weights, test, mixed), chain_doubts(found), strict=True)
        )
        if log_z[1] > _LARGEST_ERROR:
            doubts.append(f"log Z has an error of {log_z[1]:.2f}, above {_LARGEST_ERROR}")
        numbers = {name: value for name, value in weight_numbers(weights).items() if name != "the ELBO"} | {
            "the evidence": log_z[0], "the error of the evidence": log_z[1], "the coverage by the copy": test.coverage,
            "R-hat of the copy's chains": mixed,
        }  # fmt: skip
        numbers |= chain_numbers(found)
        fine = f"copy and likelihood agree, and so do exact chains, in all {len(found)} numbers that are quoted"
        return judged(numbers, trouble, doubts, fine, {"method": "auto"})  # chains besides, and log Z of both

    @staticmethod
    def on_copy(weights: Importance, test: Forward, mixed: float) -> Doubts:
        """Say what is held against a copy: why not to trust draws that rest on it, and why not to quote them yet.

        Args:
            weights: of the pool of its draws.
            test: the last test by chains on the likelihood.
            mixed: largest R-hat of its own chains, of any coordinate.
        """
        import numpy as np

        from gammasky.engine.infer.emulator.emulation import heavy
        from gammasky.engine.infer.emulator.mixing import MIXED
        from gammasky.engine.infer.emulator.scouts import MOST_MISSED
        from gammasky.engine.infer.importance import RELIABLE_K_HAT

        trouble: list[str] = []
        doubts: list[str] = []
        if heavy(weights):
            doubts.append(
                f"k-hat of the copy's draws is {weights.k_hat:.2f}, above {RELIABLE_K_HAT}: their weights have a heavy "
                "tail"
            )
        if weights.efficiency < _FEWEST:
            trouble.append(
                f"the copy's draws have an importance efficiency of {weights.efficiency:.0%}, below {_FEWEST:.0%}: "
                "the likelihood was not learnt"
            )
        if weights.elbo == -np.inf:
            doubts.append(
                f"the likelihood does not exist at {(weights.weights == 0).mean():.1%} of the copy's draws, which "
                "count as impossible"
            )
        lacks, misses = test.doubts("copy", MOST_MISSED)
        trouble, doubts = trouble + lacks, doubts + misses
        if mixed >= MIXED:
            trouble.append(
                f"chains on the copy do not mix (R-hat {mixed:.2f}, not below {MIXED:g}): the posterior may "
                "have several modes, whose shares are not known"
            )
        return trouble, doubts
