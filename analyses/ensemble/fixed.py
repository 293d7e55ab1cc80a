"""Lists and tables that stay as they are: what was counted and checked once is what is run."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NoReturn

from gammasky.engine.errors import InputError


def fixed(value: Any) -> Any:
    """The same in lists and tables that cannot be changed, all the way down."""
    if isinstance(value, dict):
        return FixedDict((name, fixed(entry)) for name, entry in value.items())
    return FixedList(map(fixed, value)) if isinstance(value, list) else value


def _refuse(_self: object, *_arguments: object, **_named: object) -> NoReturn:
    raise InputError("ensemble: its axes and members cannot be changed once it is made; make another from its file")


class FixedList(list[Any]):
    """A list that refuses changes; its copies are plain."""

    append = extend = insert = remove = pop = clear = sort = reverse = _refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [deepcopy(entry, memo) for entry in self]

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


class FixedDict(dict[str, Any]):
    """A table that refuses changes; its copies are plain."""

    update = setdefault = pop = popitem = clear = _refuse
    __setitem__ = __delitem__ = __ior__ = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {name: deepcopy(entry, memo) for name, entry in self.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)
