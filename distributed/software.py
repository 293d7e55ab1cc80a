"""One campaign, one set of versions: results of others are not mixed in unless a user says so by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gammasky.engine.errors import unknown_name
from gammasky.engine.machine import PACKAGES, VERSION, versions


def software_of(task: object) -> dict[str, str]:
    """The versions here, where a task or objective records them in its rows; none where it does not."""
    return versions() if hasattr(task, "about") else {}


def check_allowed(names: Sequence[str]) -> None:
    """Refuse a name that is none of the packages.

    Raises:
        InputError: names the nearest.
    """
    for name in names:
        if name not in PACKAGES:
            raise unknown_name("package", name, PACKAGES)


def difference(known: Mapping[str, str], here: Mapping[str, str], allowed: Sequence[str]) -> str:
    """The first package that is of another version, in words; empty where there is none, or where it is allowed.

    What one side does not have is not compared: a driver without a GPU needs no CuPy.
    """
    for package in PACKAGES:
        before, now = known.get(f"{VERSION}{package}"), here.get(f"{VERSION}{package}")
        if before and now and before != now and package not in allowed:
            return (
                f"{package} {now}, but the campaign's fits are made with {package} {before}; install that, or allow"
                f" both with `allow_mixed='{package}'`"
            )
    return ""
