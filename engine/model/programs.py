"""Compiled programs by key, which densities of one structure share, also those of members at work side by side.

Members at work in threads of one process ("lanes") may have a device that one of them does not fill. Then what they
ask of a program is gathered: when the device is free, the program that most of them wait for is called once for them
all, over a leading axis. That axis always has the same length, whoever waits: a place of it that nobody needs repeats
the first, so that nothing is compiled again, and no result depends on when threads run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.memory import bytes_of, require_memory


class Programs(dict[Hashable, Any]):
    """Compiled functions by key; any thread may ask for them.

    Args:
        width: calls that are answered together; 1: each by itself, at once.

    Attributes:
        width: the same. gathering: of calls, where the width is more than 1.
    """

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.width = width
        self._lock = threading.Lock()
        self._fixed: dict[str, list[jax.Array]] = {}
        self.gathering = Gathering(width)

    def find(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """The program of that key, made by `build` when it is first asked for."""
        if key not in self:
            with self._lock:
                if key not in self:
                    program = build()
                    self[key] = program if self.width == 1 else partial(self.gathering.ask, program)
        return self[key]

    def adopt(self, arrays: Any) -> Any:
        """Fixed numbers, those that an earlier density has given too by the arrays of that one.

        What is gathered takes these once for all; where they differ, calls are not gathered.

        Args:
            arrays: a tree of arrays.
        """
        if self.width == 1:
            return arrays
        with self._lock:
            return jax.tree_util.tree_map_with_path(self._adopted, arrays)

    def _adopted(self, path: Any, array: jax.Array) -> jax.Array:
        known = self._fixed.setdefault(jax.tree_util.keystr(path), [])
        for other in known:
            if other.dtype == array.dtype and np.array_equal(other, array, equal_nan=True):
                return other
        known.append(array)
        self.gathering.fixed.add(id(array))
        return array


class Gathering:
    """Calls of programs, answered one after the other, up to `width` of the same program at once.

    Attributes:
        fixed: ids of the arrays that are the same for all calls that have them.
        calls, answers: how many calls of programs there were, and how many they answered.
    """

    def __init__(self, width: int) -> None:
        self.fixed: set[int] = set()
        self.calls = self.answers = 0
        self._width = width
        self._waiting: list[_Call] = []
        self._turn, self._busy = threading.Condition(), False
        self._programs: dict[Hashable, Any] = {}

    def ask(self, program: Any, *arguments: Any) -> Any:
        """What program(*arguments) gives; an error of it reaches nobody else."""
        call = _Call(program, arguments, self.fixed)
        with self._turn:
            self._waiting.append(call)
            while not call.answered:
                if self._busy:
                    self._turn.wait()
                else:
                    self._work()
        return call.result()

    def _work(self) -> None:
        """Answer the calls whose turn it is; the lock is open meanwhile."""
        together, self._busy = self._next(), True
        self._turn.release()
        try:
            self._answer(together)
        finally:
            self._turn.acquire()
            self._busy = False
            self._turn.notify_all()

    def _next(self) -> list[_Call]:
        """Take from those that wait the most that can be answered together; of as many, those that came first."""
        groups: dict[Hashable, list[_Call]] = {}
        for call in self._waiting:
            groups.setdefault(call.like, []).append(call)
        together = max(groups.values(), key=len)[: self._width]
        self._waiting = [call for call in self._waiting if call not in together]
        return together

    def _answer(self, together: Sequence[_Call]) -> None:
        """Give every call its answer; where all together fail, each is tried alone."""
        try:
            found = self._run(together)
        except Exception as error:
            if len(together) == 1:
                together[0].answered, together[0].error = True, error
                return
            for call in together:
                self._answer([call])
            return
        for call, answer in zip(together, found, strict=False):
            call.answered, call.answer = True, answer

    def _run(self, together: Sequence[_Call]) -> Any:
        first = together[0]
        if first.like not in self._programs:
            self._programs[first.like] = self._stacked(first)
        lanes = [call.taken(fixed=False) for call in together]
        lanes += [lanes[0]] * (self._width - len(lanes))
        self.calls, self.answers = self.calls + 1, self.answers + len(together)
        return jax.block_until_ready(self._programs[first.like](first.taken(fixed=True), lanes))

    def _stacked(self, first: _Call) -> Any:
        """The program for all calls like this one.

        Raises:
            InputError: the GPU has no memory for so many.
        """
        stacked = _stacked(first, self._width)

        def needed(n: int) -> int:
            program, own = stacked if n == self._width else _stacked(first, n), first.taken(fixed=False)
            return bytes_of(program, first.taken(fixed=True), [own] * n)

        require_memory("members side by side", self._width, needed)
        return stacked


class _Call:
    """One call of a program; those that are `like` each other may be answered together."""

    def __init__(self, program: Any, arguments: Any, fixed: set[int]) -> None:
        self.program = program
        self.leaves, self.tree = jax.tree.flatten(arguments)
        self.is_fixed = [id(leaf) in fixed for leaf in self.leaves]
        each = zip(self.leaves, self.is_fixed, strict=True)
        self.like = (program, self.tree, *(id(leaf) if is_fixed else _kind(leaf) for leaf, is_fixed in each))
        self.answered = False
        self.answer: Any = None
        self.error: Exception | None = None

    def taken(self, *, fixed: bool) -> list[Any]:
        """The leaves that are the same for all, or the others."""
        return [leaf for leaf, is_fixed in zip(self.leaves, self.is_fixed, strict=True) if is_fixed == fixed]

    def result(self) -> Any:
        """The answer.

        Raises:
            Exception: what the program has raised.
        """
        if self.error is not None:
            raise self.error
        return self.answer


def _kind(leaf: Any) -> Hashable:
    """What two leaves must have in common to lie on one axis."""
    kind: tuple[Any, ...] = (leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else (type(leaf),)
    return kind


def _stacked(first: _Call, width: int) -> Any:
    """The program of a call over a leading axis: from fixed leaves, and others for each place, answers for each."""
    program, tree, is_fixed = first.program, first.tree, tuple(first.is_fixed)  # not the call, which holds its arrays
    axes = [None if fixed else 0 for fixed in is_fixed]

    def run(common: list[Any], lanes: list[list[Any]]) -> list[Any]:
        stacked = iter([jnp.stack(leaves) for leaves in zip(*lanes, strict=True)])
        shared = iter(common)
        leaves = [next(shared if fixed else stacked) for fixed in is_fixed]
        found = jax.vmap(lambda *of: program(*jax.tree.unflatten(tree, of)), axes)(*leaves)
        return [jax.tree.map(lambda values: values[place], found) for place in range(width)]  # noqa: B023

    return jax.jit(run)
