"""A mixture of templates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
from pydantic import Field

from gammasky.engine.errors import InputError
from gammasky.engine.model.expressions import is_name
from gammasky.engine.model.priors import SUM_TOLERANCE
from gammasky.engine.model.templates.base import TEMPLATES, AnyTemplate, Template
from gammasky.engine.model.templates.field import TemplateField
from gammasky.engine.model.templates.function import Function
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.values import Parameters, Use, uses_of, value_of


@TEMPLATES.add
class MixTemplate(Template):
    """A mixture of templates, each of mean 1.

    Args:
        mix: the templates.
        fractions: their shares: the name of a parameter with a Dirichlet prior, numbers that add up to 1, or for two
            templates the share of the first (a number, the parameter of one, or an expression of parameters).
    """

    kind: ClassVar[str] = "mix"

    mix: Annotated[list[AnyTemplate], Field(min_length=1)]
    fractions: str | float | list[float]

    def leaves(self) -> Iterator[Template]:
        for member in self.mix:
            yield from member.leaves()

    def fields(self) -> Iterator[TemplateField]:
        yield from super().fields()
        for member in self.mix:
            yield from member.fields()

    def shape_uses(self, where: str) -> Iterator[Use]:
        members = [member.label() for member in self.mix]
        if len(set(members)) < len(members):
            members = [f"{number}:{member}" for number, member in enumerate(members)]
        if isinstance(self.fractions, str) and not is_name(self.fractions):
            if len(members) != 2:
                raise InputError(
                    f"{where}, mix: fractions of {len(members)} templates are the name of a parameter with a dirichlet "
                    f"prior, got the expression '{self.fractions}'; only of two may one be the share of the first"
                )
            yield from uses_of(f"{where}, mix fractions", self.fractions, least=0.0, most=1.0, what="a share")
        elif isinstance(self.fractions, str):
            yield Use(self.fractions, f"{where}, mix", tuple(members), shares=True)
        else:
            _require_shares(self.fractions, len(members), where)
        for member in self.mix:
            yield from member.uses(where)

    def fluxes(self, norm: jax.Array, theta: Parameters) -> list[jax.Array]:
        shares = self.shares(theta)
        parts = [norm * shares[number] for number in range(len(self.mix))]
        inner = [flux for part, member in zip(parts, self.mix, strict=True) for flux in member.fluxes(part, theta)]
        return (parts if isinstance(self.fractions, str) else []) + inner

    def shape(self, setting: Setting) -> Function:
        return Function.sum(self.shares, [member.build(setting) for member in self.mix])

    def shares(self, theta: Parameters) -> jax.Array | list[jax.Array]:
        """The share of each member."""
        given = self.fractions
        found = jnp.asarray(given) if isinstance(given, list) else value_of(given, theta)
        return found if found.ndim else [found, 1.0 - found]


def _require_shares(fractions: float | list[float], n_members: int, where: str) -> None:
    """Refuse fixed shares that are not one from 0 to 1, or as many as there are members and add up to 1."""
    if isinstance(fractions, list) and len(fractions) != n_members:
        raise InputError(f"{where}: a mix of {n_members} templates needs as many fractions")
    if isinstance(fractions, float) and n_members != 2:
        raise InputError(f"{where}: one number as fractions is the share of the first of TWO templates")
    shares = fractions if isinstance(fractions, list) else [fractions, 1.0 - fractions]
    if min(shares) < 0 or abs(sum(shares) - 1.0) > SUM_TOLERANCE:
        raise InputError(f"{where}: fractions must lie in 0 to 1 and add up to 1, got {fractions}")
