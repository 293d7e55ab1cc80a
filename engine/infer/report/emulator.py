"""Section about a copy of the likelihood: how it was learnt, how it was tested, and what that cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gammasky.engine.errors import InputError
from gammasky.engine.infer.report.diagnostics import figure
from gammasky.engine.infer.report.fit_folder import FitFolder
from gammasky.engine.infer.report.html import Cell, Section, Table
from gammasky.engine.infer.report.numbers import number


def emulator(fit: FitFolder) -> Section | None:
    """Rounds of learning, tests by chains on the likelihood, exact chains, and where the time went; None for a fit that
    has learnt no copy."""
    every = (fit.entry("diagnostics") or {}, *(fit.entry("stages") or ()))
    found = next((of for of in every if isinstance(of, Mapping) and of.get("rounds")), None)
    if found is None:
        return None
    try:
        exact = "accepted" in found  # its draws are those of exact chains
        spent = [[kind, number(seconds, 1.0)] for kind, seconds in found["spent"].items()]
        tables = [_rounds(found["rounds"]), _tests(found["tests"]), *([_chains(found)] if exact else [])]
        tables.append(Table(["work", "seconds"], spent, "Where the time went"))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"{fit.folder / 'summary.json'}: damaged rounds or tests; run the fit again") from None
    return Section("emulator", "The copy of the likelihood", {"tables": tables, "exact": exact}, "Copy")


def _rounds(found: list[Mapping[str, Any]]) -> Table:
    """How the copy got better: its own draws against the likelihood, round by round."""
    rows = [
        [
            str(place),
            number(int(of["points"])),
            number(int(of["cost"])),
            number(of["residual"], 0.1),
            figure("efficiency", of["efficiency"]),
            figure("k_hat", of["k_hat"]),
        ]
        for place, of in enumerate(found, start=1)
    ]
    headings = ["round", "points learnt", "gradients so far", "residual [nat]", "importance efficiency", "k-hat"]
    return Table(headings, rows, "Rounds of learning")


def _tests(found: list[Mapping[str, Any]]) -> Table:
    """Where chains on the likelihood went: whether the copy goes there too."""
    rows: list[list[Cell | str]] = [
        [
            str(place),
            Cell(number(of["coverage"], 0.01), f"± {number(of['error'], 0.01)}"),
            figure("missed", of["missed"]),
            number(of["worst"], 0.1),
        ]
        for place, of in enumerate(found, start=1)
    ]
    headings = ["test", "log mean of copy / truth", "missed", "largest log of truth / copy"]
    return Table(headings, rows, "Tests by chains on the likelihood; after one that fails the copy learns more")


def _chains(found: Mapping[str, Any]) -> Table:
    """The exact chains, which the draws of the fit are of."""
    draws, moves, *on_likelihood = found["accepted"]
    accepted = {"draws of the copy accepted": draws, "trajectories on the copy accepted": moves}
    if on_likelihood:
        (accepted["trajectories on the likelihood accepted"],) = on_likelihood
    rows = [[text, number(share, 0.01)] for text, share in accepted.items()]
    rows += [[text, figure(name, found[name])] for name, text in _OF_CHAINS.items()]
    return Table(["exact chains", "value"], rows, "Exact chains, with proposals from the copy")


_OF_CHAINS = {
    "r_hat_max": "largest R-hat",
    "ess_bulk_min": "smallest effective sample size",
    "ess_tail_min": "smallest effective sample size of the tails",
}
