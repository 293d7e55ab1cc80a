"""An ensemble of fits: its file, and the members and the task that follow from it."""

from __future__ import annotations

from functools import cached_property

from gammasky.analyses.ensemble.expansion import Expansion
from gammasky.analyses.ensemble.file import EnsembleFile
from gammasky.analyses.ensemble.task import EnsembleTask
from gammasky.distributed.member import Member


class Ensemble(EnsembleFile):
    """An ensemble of fits, from a TOML file (`Ensemble.read`) or from Python with the same names as in the file.

    The file is checked at once; `members()` checks the model and the data of every member before anything starts.
    """

    @cached_property
    def expansion(self) -> Expansion:
        """The members, their sizes and their task, worked out once.

        Raises:
            InputError: a model or dataset that cannot be used.
        """
        return Expansion(self)

    def members(self) -> list[Member]:
        """Every member, checked whole.

        Raises:
            InputError: an axis, choice, model, dataset or region that cannot be used; names the member.
        """
        return self.expansion.members

    def task(self) -> EnsembleTask:
        """The task that fits a member.

        Raises:
            InputError: a dataset that cannot be used.
        """
        return self.expansion.task
