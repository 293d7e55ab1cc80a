"""Variational inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError
from gammasky.engine.infer.guides import GUIDES
from gammasky.engine.infer.methods.emulator import Doubts, Emulator
from gammasky.engine.infer.methods.method import Method, class_at
from gammasky.engine.infer.option import Option

if TYPE_CHECKING:
    from gammasky.engine.infer.emulator.scouts import Forward
    from gammasky.engine.infer.importance import Importance
    from gammasky.engine.infer.verdict import Verdict

SCHEDULES = ("constant", "cosine")
_ON_COPY = "gammasky.engine.infer.stages.guide:GuideStage"
_STEPS, _PARTICLES = 5000, 8  # of a fit to the likelihood itself, whose gradients are dear
_PARTICLES_ON_COPY, _RATE_ON_COPY = 64, 3e-3
_RATE_OF_BOUND = 1e-3  # at most, where alpha is below 1: at 3e-3 three flows in five are thrown out
_DIRECT = ("schedule", "clip", "alpha", "starts", "early_stop")  # settings of a fit to the likelihood itself
SMALLEST_EFFICIENCY = 0.2  # of the guide's draws, below which they are not quoted
# share of the posterior where a guide may be low by 3 nat: of 5,000 draws a dozen are there, which weights make up for
MOST_MISSED = 0.05


def _of_guides(name: str) -> str:
    """Say what a setting is by default with each of the guides."""
    return ", ".join(f"{getattr(guide, name)} for {guide.name}" for guide in GUIDES.values())


def _of_flows(name: str) -> str:
    """Say what the size of a flow is by default, with each of the guides that are flows."""
    return ", ".join(f"{getattr(guide, name)} for {guide.name}" for guide in GUIDES.values() if guide.layers)


def _sized(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the size of the flow; without it where the guide is none.

    Raises:
        InputError: a size of what has none.
    """
    guide, found = GUIDES[options["guide"]], dict(options)
    for name in ("layers", "width"):
        value = found.pop(name)
        if guide.layers:
            found[name] = getattr(guide, name) if value is None else value
        elif value is not None:
            raise InputError(f"{name}: guide {guide.name} is no flow and has none; leave it out, or use `guide='flow'`")
    return found


def _on_copy(value: float | str, direct: float | str) -> str:
    """Say what a setting is by default on the copy and without it."""
    return f"{value}; without the copy {direct}"


class Svi(Method):
    """A guide, fitted by stochastic gradients to a copy of the likelihood, or of a bound on log Z to the likelihood."""

    name = "svi"
    summary = "a guide whose density is known; a minute or two"
    work = "gammasky.engine.infer.stages.svi:SviStage"
    options: ClassVar[Mapping[str, Option]] = {
        "guide": Option(
            "flow", "family of densities; iaf is that of arXiv:2604.08648", str, choices=GUIDES,
            tunable=True, searched="flow,iaf,mvn",
        ),
        "layers": Option(None, "layers of a flow", int, low=1, default_text=_of_flows("layers")),
        "width": Option(None, "width of the networks in a flow", int, low=1, default_text=_of_flows("width")),
        "emulator": Option(
            True, "fit the guide to a copy of the likelihood, which method emulator learns; else to itself", bool
        ),
        "steps": Option(
            None, "optimiser steps", int, low=1, default_text=_on_copy(_of_guides("steps_on_copy"), _STEPS),
            tunable=True,
        ),
        "particles": Option(
            None, "draws of the guide per step, and of the copy as many", int, low=1,
            default_text=_on_copy(_PARTICLES_ON_COPY, _PARTICLES), tunable=True, searched="1,2,4,8,16,32",
        ),
        "learning_rate": Option(
            None, "learning rate of Adam", float, above=0,
            default_text=_on_copy(_RATE_ON_COPY, _of_guides("learning_rate")), tunable=True, searched="1e-4:3e-2:log",
        ),
        "schedule": Option(
            None, "learning rate over the steps: constant, or a cosine to 1 % after a warm-up", str, choices=SCHEDULES,
            default_text=_on_copy("cosine", _of_guides("schedule")), tunable=True, searched=",".join(SCHEDULES),
        ),
        "clip": Option(1.0, "without the copy: largest absolute value of a gradient entry", float, above=0),
        "alpha": Option(
            1.0, "without the copy: bound, from 1 (ELBO) to 0 (importance-weighted), see `Objective`", float,
            low=0, high=1, tunable=True,
        ),
        "starts": Option(1, "without the copy: starts; the best goes on after a tenth of the steps", int, low=1),
        "early_stop": Option(False, "without the copy: stop when the ELBO is flat", bool),
    }  # fmt: skip

    @classmethod
    def stage(cls, options: Mapping[str, Any]) -> Any:
        return class_at(_ON_COPY if options["emulator"] else cls.work)

    @classmethod
    def resolve(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        guide, options = GUIDES[options["guide"]], _sized(options)
        if not options["emulator"]:
            rate = guide.learning_rate if options["alpha"] == 1.0 else min(guide.learning_rate, _RATE_OF_BOUND)
            defaults = {
                "steps": _STEPS, "particles": _PARTICLES, "learning_rate": rate, "schedule": guide.schedule,
            }  # fmt: skip
            return {name: defaults[name] if value is None else value for name, value in options.items()}
        for name in _DIRECT:
            if options[name] != cls.options[name].default:
                raise InputError(
                    f"{name}: a fit to the copy of the likelihood has no such setting; leave it out, or fit to the "
                    "likelihood itself by `emulator=False`"
                )
        defaults = {"steps": guide.steps_on_copy, "particles": _PARTICLES_ON_COPY, "learning_rate": _RATE_ON_COPY}
        used = {name: value for name, value in options.items() if name not in _DIRECT}
        return {name: defaults[name] if value is None else value for name, value in used.items()}

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
        """Adam and the guide, the copy, and what a bound other than the ELBO rests on."""
        from gammasky.engine.infer import objective

        guide, found = GUIDES.get(options["guide"]), [*super().cited(options)]
        found += guide.citations if guide else ()
        if options["emulator"]:
            found += Emulator.citations
        elif options["alpha"] < 1.0:
            found += [objective.BOUND, *([objective.DOUBLY] if guide and guide.has_density else [])]
        return tuple(found)

    @staticmethod
    def gradients(options: Mapping[str, Any]) -> int:
        if options["emulator"]:
            return Emulator.gradients(options)
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

    @staticmethod
    def verdict_on_copy(
        weights: Importance,
        shifts: Mapping[str, float],
        covers: Forward | None,
        of_copy: Doubts,
        numbers: Mapping[str, float],
    ) -> Verdict:
        """Judge a guide that was fitted to a copy: reliable needs that all checks of both pass.

        Args:
            weights: importance weights of its draws, by the likelihood itself.
            shifts: by parameter, how far the weights move its mean [sd].
            covers: how it covers draws of the posterior; None of a guide whose density there is not known.
            of_copy: what is held against the copy, see `Emulator.on_copy`.
            numbers: that the latter rests on, by the name that a reader knows.
        """
        from gammasky.engine.infer.convergence import SMALLEST_ESS
        from gammasky.engine.infer.verdict import judged, weight_doubts, weight_numbers

        trouble, doubts = (
            list(of) + list(more) for of, more in zip(weight_doubts(weights, shifts), of_copy, strict=True)
        )
        if weights.efficiency < SMALLEST_EFFICIENCY:
            doubts.append(
                f"the guide's draws have an importance efficiency of {weights.efficiency:.0%}, below "
                f"{SMALLEST_EFFICIENCY:.0%}"
            )
        if weights.ess < SMALLEST_ESS:
            doubts.append(f"the weighted draws are worth {weights.ess:.0f} independent ones, below {SMALLEST_ESS:.0f}")
        if covers is None:
            doubts.append(
                "the guide's density is known at its own draws only: nothing has looked for mass that it misses"
            )
        else:
            numbers = {**numbers, "the coverage by the guide": covers.coverage}
            lacks, misses = covers.doubts("guide", MOST_MISSED)
            trouble, doubts = trouble + lacks, doubts + misses
        moved = {f"the shift of the mean of {name} by the weights": shift for name, shift in shifts.items()}
        fine = "guide, copy and likelihood agree"
        remedy = "nuts" if any(of_copy) else "emulator"  # what is wrong with the copy is wrong with both
        return judged(weight_numbers(weights) | moved | dict(numbers), trouble, doubts, fine, {"method": remedy})
