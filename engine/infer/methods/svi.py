"""Variational inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from gammasky.engine.citation import Citation
from gammasky.engine.infer.guides import GUIDES
from gammasky.engine.infer.methods.method import Method
from gammasky.engine.infer.option import Option

if TYPE_CHECKING:
    from gammasky.engine.infer.importance import Importance
    from gammasky.engine.infer.verdict import Verdict

SCHEDULES = ("constant", "cosine")


def _of_guides(name: str) -> str:
    """Say what a setting is by default with each of the guides."""
    return ", ".join(f"{getattr(guide, name)} for {guide.name}" for guide in GUIDES.values())


class Svi(Method):
    """A guide, fitted by stochastic gradients of a bound on log Z."""

    name = "svi"
    summary = "a minute or two"
    work = "gammasky.engine.infer.stages.svi:SviStage"
    options: ClassVar[Mapping[str, Option]] = {
        "guide": Option(
            "flow", "family of densities; iaf is that of arXiv:2604.08648", str, choices=GUIDES,
            tunable=True, searched="flow,iaf,mvn",
        ),
        "steps": Option(5000, "optimiser steps", int, low=1, tunable=True),
        "particles": Option(8, "draws per step", int, low=1, tunable=True, searched="1,2,4,8,16,32"),
        "learning_rate": Option(
            None, "learning rate of Adam", float, above=0, default_text=_of_guides("learning_rate"),
            tunable=True, searched="1e-4:3e-2:log",
        ),
        "schedule": Option(
            None, "of the rate: constant, or a cosine down to 1 % after a warm-up", str, choices=SCHEDULES,
            default_text=_of_guides("schedule"), tunable=True, searched=",".join(SCHEDULES),
        ),
        "clip": Option(1.0, "largest absolute value of a gradient entry", float, above=0),
        "alpha": Option(
            1.0, "bound, from 1 (ELBO) to 0 (importance-weighted), see `Objective`", float, low=0, high=1, tunable=True
        ),
        "starts": Option(1, "starts; the best goes on after a tenth of the steps", int, low=1),
        "early_stop": Option(False, "stop when the ELBO is flat", bool),
    }  # fmt: skip

    @staticmethod
    def resolve(options: Mapping[str, Any]) -> dict[str, Any]:
        guide = GUIDES[options["guide"]]
        of_guide = {"learning_rate": guide.learning_rate, "schedule": guide.schedule}
        return {name: of_guide[name] if value is None else value for name, value in options.items()}

    citations = (
        Citation(
            "the optimiser of variational fits",
            r"""
            @misc{Kingma2014,
              author        = {Kingma, Diederik P. and Ba, Jimmy},
              title         = {Adam: A Method for Stochastic Optimization},
              year          = {2014},
              eprint        = {1412.6980},
              archivePrefix = {arXiv}
            }
            """,
        ),
    )

    @classmethod
    def cited(cls, options: Mapping[str, Any]) -> tuple[Citation, ...]:
        """Adam and the guide, and what a bound other than the ELBO rests on."""
        from gammasky.engine.infer import objective

        guide, found = GUIDES.get(options["guide"]), [*super().cited(options)]
        found += guide.citations if guide else ()
        if options["alpha"] < 1.0:
            found += [objective.BOUND, *([objective.DOUBLY] if guide and guide.has_density else [])]
        return tuple(found)

    @staticmethod
    def gradients(options: Mapping[str, Any]) -> int:
        return int(options["steps"] * options["particles"])

    @staticmethod
    def verdict(weights: Importance, shifts: Mapping[str, float], status: str) -> Verdict:
        """Judge the guide.

        Args:
            weights: importance weights of its draws.
            shifts: by parameter, how far the weights move its mean [sd].
            status: of the optimiser, "converged" or "stopped".
        """
        from gammasky.engine.infer.verdict import STOPPED, verdict_on_approximation

        return verdict_on_approximation(weights, shifts, [STOPPED] if status == "stopped" else [])
