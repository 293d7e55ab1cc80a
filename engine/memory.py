"""Whether the memory of a GPU is enough for a batch, told before the batch runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gammasky.engine.errors import InputError
from gammasky.engine.kernels import callbacks

GIB = 1024**3


def bytes_of(program: Any, *arguments: Any) -> int:
    """What a compiled program takes on its device while it runs: arguments, results, and room to work in."""
    of = program.lower(*arguments).compile().memory_analysis()
    sizes = of.argument_size_in_bytes, of.output_size_in_bytes, of.temp_size_in_bytes, -of.alias_size_in_bytes
    return int(sum(sizes))


def require_memory(what: str, asked: int, needed: Callable[[int], int]) -> None:
    """Refuse a batch that the GPU has no memory for; on a CPU nothing is looked at.

    Args:
        what: there are so many of in the batch.
        asked: how many.
        needed: gives the memory for any number of them [bytes].

    Raises:
        InputError: says how many there is memory for.
    """
    has = callbacks.memory()
    if has is None or (all_of_them := needed(asked)) <= has:
        return
    one = needed(1)
    if one > has:
        raise InputError(
            f"{what}: expected a GPU of whose memory JAX may take {one / GIB:.3g} GiB, which one alone needs, got "
            f"{has / GIB:.3g} GiB; use another GPU, or the CPU (JAX_PLATFORMS=cpu)"
        )
    most = 1 + int((has - one) * (asked - 1) / (all_of_them - one))
    raise InputError(
        f"{what}: expected at most {most}, for which the {has / GIB:.3g} GiB are enough that JAX may take of the GPU's "
        f"memory, got {asked}, which need {all_of_them / GIB:.3g} GiB; ask for fewer"
    )
