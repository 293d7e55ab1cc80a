"""Programs that members at work side by side share: what they ask is answered together, each as if it were alone."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.model import SkyModel
from gammasky.engine.model.programs import Gathering, Programs
from gammasky.engine.model.spec import model_from_table
from gammasky.engine.sky.dataset import Dataset

pytestmark = pytest.mark.usefixtures("compiled_fast")
WIDTH = 4


@pytest.fixture(scope="module")
def members(small: Dataset) -> list[SkyModel]:
    """A model on three skies, and on its own sky with another prior; all by one set of gathered programs."""
    from tests.engine.model.conftest import population

    table = population()
    model = SkyModel(model_from_table(table), small)
    rng = np.random.default_rng(3)
    skies = [model.with_counts(rng.permutation(model.pixels.counts)) for _ in range(3)]
    wider = copy.deepcopy(table)
    wider["parameters"]["S_flat"]["high"] += 5.0
    members = [*skies, SkyModel(model_from_table(wider), small)]
    programs = Programs(WIDTH)
    for member in members:
        member.share(programs)
    return members


def gathering_of(members: list[SkyModel]) -> Gathering:
    return members[0].programs.gathering


def asked_at_once(gathering: Gathering, questions: list[Callable[[], Any]]) -> list[Any]:
    """The answers to questions that wait for each other: all are asked before the first is answered."""
    with ThreadPoolExecutor(len(questions)) as pool:
        gathering._busy = True
        answers = [pool.submit(question) for question in questions]
        try:
            while len(gathering._waiting) < len(questions):
                assert not any(answer.done() for answer in answers)  # one that could not even be asked
                threading.Event().wait(0.001)
        finally:
            with gathering._turn:
                gathering._busy = False
                gathering._turn.notify_all()
        return [answer.result() for answer in answers]


def test_members_are_answered_by_one_call_as_if_alone(members: list[SkyModel]) -> None:
    """Other counts and other priors; to rounding what each finds by itself."""
    z = 0.3 * np.random.default_rng(0).standard_normal((WIDTH, 3, members[0].n_latent))
    gathering = gathering_of(members)
    calls, answers = gathering.calls, gathering.answers
    found = asked_at_once(gathering, [
        lambda member=member, at=at: member.value_and_gradient(at) for member, at in zip(members, z, strict=True)
    ])  # fmt: skip
    assert (gathering.calls - calls, gathering.answers - answers) == (1, WIDTH)
    for member, at, (values, gradients) in zip(members, z, found, strict=True):
        alone = copy.copy(member)
        alone.programs = Programs()
        expected = alone.value_and_gradient(at)
        np.testing.assert_allclose(values, expected[0], rtol=1e-13)
        np.testing.assert_allclose(gradients, expected[1], rtol=1e-10, atol=1e-10)
    assert len({float(values[0]) for values, _ in found}) == WIDTH


def test_an_answer_depends_neither_on_its_place_nor_on_its_neighbours(members: list[SkyModel]) -> None:
    """To the last bit: else a fit would depend on when threads run. And nothing is compiled again."""
    z = 0.3 * np.random.default_rng(1).standard_normal((WIDTH, 3, members[0].n_latent))
    z[3, 1] = np.nan  # a neighbour without a likelihood
    gathering = gathering_of(members)
    alone = [member.value_and_gradient(at) for member, at in zip(members, z, strict=True)]
    sizes = {like: program._cache_size() for like, program in gathering._programs.items()}
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0], [1, 3, 0]):
        questions = [lambda n=number: members[n].value_and_gradient(z[n]) for number in order]
        for number, found in zip(order, asked_at_once(gathering, questions), strict=True):
            for part, right in zip(found, alone[number], strict=True):
                np.testing.assert_array_equal(part, right)
    assert {like: program._cache_size() for like, program in gathering._programs.items()} == sizes
    assert set(sizes.values()) == {1}


def test_an_error_is_told_to_whom_it_concerns_alone() -> None:
    gathering = Gathering(3)

    def sinks(values: np.ndarray) -> np.ndarray:
        if (values < 0).any():
            raise ValueError("below zero")
        return np.asarray(np.sqrt(values))

    shape = jax.ShapeDtypeStruct((), jnp.float64)
    program = jax.jit(lambda x: jax.pure_callback(sinks, shape, x, vmap_method="broadcast_all"))

    def ask(x: float) -> Any:
        try:
            return float(gathering.ask(program, jnp.asarray(x)))
        except Exception as error:
            return str(error)

    good, bad, other = asked_at_once(gathering, [lambda: ask(4.0), lambda: ask(-1.0), lambda: ask(9.0)])
    assert (good, other) == (2.0, 3.0)
    assert "below zero" in bad


def test_loops_whose_length_differs() -> None:
    """Plain numbers, keys and trees go in as they do into the program itself."""
    gathering = Gathering(2)

    @jax.jit
    def walk(tree: dict[str, jax.Array], key: jax.Array, steps: int, size: float) -> jax.Array:
        move = lambda n, x: x + jnp.float32(size) * jax.random.normal(jax.random.fold_in(key, n), x.shape, x.dtype)  # noqa: E731
        return jax.lax.fori_loop(0, steps, move, tree["x"])

    given = [({"x": jnp.full(3, n, jnp.float32)}, jax.random.key(n), steps, 0.1 * n) for n, steps in ((1, 2), (2, 7))]
    found = asked_at_once(gathering, [lambda of=of: gathering.ask(walk, *of) for of in given])
    assert gathering.calls == 1
    for answer, of in zip(found, given, strict=True):
        assert answer.dtype == jnp.float32
        np.testing.assert_allclose(answer, walk(*of), rtol=1e-6)


def test_members_of_other_maps_are_not_gathered(members: list[SkyModel]) -> None:
    """They share the program, but what a call takes once for all differs."""
    one, other = members[0], copy.copy(members[0])
    maps = [2.0 * maps for maps in one.arrays["sky"]["fitted_maps"]]
    other.arrays = {**one.arrays, "sky": {**one.arrays["sky"], "fitted_maps": maps}}
    other.share(one.programs)
    gathering, z = gathering_of(members), np.zeros((3, one.n_latent))
    calls = gathering.calls
    first, second = asked_at_once(
        gathering, [lambda: one.value_and_gradient(z), lambda: other.value_and_gradient(z)]
    )  # fmt: skip
    assert gathering.calls == calls + 2
    assert abs(float(first[0][0]) - float(second[0][0])) > 1.0
    np.testing.assert_array_equal(first[0], one.value_and_gradient(z)[0])


def test_what_most_wait_for_comes_first() -> None:
    gathering, order = Gathering(2), list[str]()

    def noting(name: str) -> Any:
        shape = jax.ShapeDtypeStruct((), jnp.float64)
        note = lambda x: order.append(name) or np.asarray(x)  # noqa: E731
        return jax.jit(lambda x: jax.pure_callback(note, shape, x, vmap_method="broadcast_all"))

    rare, common = noting("rare"), noting("common")
    for program in (rare, common):  # compiled
        gathering.ask(program, jnp.asarray(0.0))
    order.clear()
    asked_at_once(gathering, [lambda of=of: gathering.ask(of, jnp.asarray(1.0)) for of in (rare, common, common)])
    assert order == ["common", "rare"]


def test_threads_that_ask_first_build_once() -> None:
    programs, built = Programs(), []
    start = threading.Barrier(8)

    def find() -> Any:
        start.wait()
        return programs.find("key", lambda: built.append(1) or object())

    with ThreadPoolExecutor(8) as pool:
        found = {id(answer.result()) for answer in [pool.submit(find) for _ in range(8)]}
    assert len(found) == len(built) == 1
