"""How a fit runs: a method, a seed, and the settings that this method has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.methods import METHODS
from gammasky.engine.infer.option import Option

MAX_SEED = 2**63 - 1  # what JAX takes
N_SKIES = 300  # simulated skies that honest errors are measured on
METHOD = Option("emulator", "how the posterior is found", str, choices=METHODS)
SEED = Option(0, "seed of every random number", int, low=0, high=MAX_SEED)


@dataclass(frozen=True, init=False)
class Settings:
    """How a fit runs: `Settings(seed=1)`, or `Settings(method="svi", steps=2000, seed=1)`.

    Every setting of the method is an attribute: as it was asked for, or its default. What the default of some follows
    from is settled at use, by `resolved`: a `learning_rate` that is not asked for is None here.

    Args:
        method: a name in `METHODS`.
        seed: of every random number of the fit.
        options: settings of the method as pairs of name and value; the same as `named`.
        named: settings of the method; None is the default.

    Raises:
        InputError: an unknown method; a setting that the method does not have (with the method that has it, or the
            nearest match), of another kind or out of range; settings that exclude each other.

    Example:
        >>> import gammasky
        >>> settings = gammasky.Settings(method="svi", steps=2000, seed=1)
        >>> settings.steps, settings.seed
        (2000, 1)
        >>> gammasky.Settings(steps=2000)
        Traceback (most recent call last):
        ...
        gammasky.engine.errors.InputError: steps is a setting of method ...
    """

    method: str
    seed: int
    options: tuple[tuple[str, Any], ...]

    def __init__(
        self,
        method: str = METHOD.default,
        seed: int = SEED.default,
        options: Iterable[tuple[str, Any]] = (),
        **named: Any,
    ) -> None:
        known = METHODS[METHOD.checked("method", method)].options
        given = {name: value for name, value in {**dict(options), **named}.items() if value is not None}
        for name in given:
            if name not in known:
                raise unknown_setting(method, name)
        object.__setattr__(self, "method", method)
        object.__setattr__(self, "seed", SEED.checked("seed", seed))
        checked = [(name, option.checked(name, given[name])) for name, option in known.items() if name in given]
        object.__setattr__(self, "options", tuple(checked))
        self.resolved()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in METHODS[self.method].options:
            raise AttributeError(f"settings of method {self.__dict__.get('method')} have no '{name}'")
        return dict(self.options).get(name, METHODS[self.method].options[name].default)

    def resolved(self) -> dict[str, Any]:
        """Method, seed and all settings of the method, with the values that are used."""
        options = {name: getattr(self, name) for name in METHODS[self.method].options}
        return {"method": self.method, **METHODS[self.method].resolve(options), "seed": self.seed}


def unknown_setting(method: str, name: str) -> InputError:
    """The error for a setting that a method does not have; says which methods have it, if any."""
    owners = [owner for owner, of in METHODS.items() if name in of.options]
    if owners:
        told = f"method {owners[0]}" if len(owners) == 1 else f"methods {' and '.join(owners)}"
        return InputError(f"{name} is a setting of {told}, and this fit is by {method}: add `method='{owners[0]}'`")
    return unknown_name(f"setting of method {method}", name, [*METHODS[method].options, "seed"])
