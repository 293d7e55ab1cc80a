"""Errors that users can act on: one line each, with name, expected, got and remedy.

The command line prints the message of a `GammaskyError` and exits with code 2; anything else is a bug. A message names
arguments as in Python, in backquotes, `out` or `overwrite=True`: the command line puts its own options there.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable
from functools import cache


class GammaskyError(Exception):
    """Base of every error that names something the user can change."""


class InputError(GammaskyError, ValueError):
    """A file, option, parameter or model that cannot be used as given."""


class ImpossibleCountsError(InputError):
    """Expected counts that no sky can be drawn from: negative, or beyond what a generator can draw."""


class NonFiniteLikelihoodError(GammaskyError, FloatingPointError):
    """The log-likelihood is not finite; the message names the pixel and the parameters."""


class DivergedFitError(GammaskyError, ArithmeticError):
    """A fit ran away from the posterior; the message names the parameters that went furthest."""


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> InputError:
    """The error for `name`, which is none of `choices`: lists them and offers the nearest match."""
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return InputError(f"unknown {kind} '{name}'{hint} (known: {', '.join(known) or 'none'})")


@cache
def warn_once(text: str) -> None:
    """Warn of something that a user can change, in one line and once in a process."""
    warnings.warn_explicit(text, UserWarning, "gammasky", 0)
