"""Which exceptions of a fit are its own, and which are of the storage or the device beneath it."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from gammasky.distributed.trouble import ending_of, is_full, no_room
from gammasky.engine.errors import GammaskyError, InputError

FOLDER = Path("/shared/campaign")


class XlaRuntimeError(RuntimeError):
    """Named as jaxlib's, of which JAX's own is another name."""


class CUDARuntimeError(RuntimeError):
    """Named as CuPy's."""


def os_error(number: int, path: str | None = None) -> OSError:
    return OSError(number, "said the system", path)


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (ValueError("no good"), "failed"),
        (GammaskyError("diverged"), "failed"),
        (FileNotFoundError(errno.ENOENT, "no such file"), "failed"),
        (os_error(errno.ESTALE), "lost"),
        (os_error(errno.EIO, "/shared/campaign/scratch/x"), "lost"),
        (ConnectionError("reset"), "lost"),
        (MemoryError("not enough"), "lost"),
        (RuntimeError("can't start new thread"), "lost"),
        (XlaRuntimeError("INTERNAL: CUDA_ERROR_ILLEGAL_ADDRESS"), "lost"),
        (XlaRuntimeError("UNAVAILABLE: device went away"), "lost"),
        (XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes"), "lost"),
        (XlaRuntimeError("INVALID_ARGUMENT: shapes differ"), "failed"),
        (XlaRuntimeError("INTERNAL: CpuCallback error: Traceback: ValueError: pixel 7"), "failed"),
        (XlaRuntimeError("INTERNAL: CpuCallback error: Traceback: MemoryError: no"), "lost"),
        (RuntimeError("INTERNAL: of somebody else"), "failed"),
        (CUDARuntimeError("cudaErrorECCUncorrectable"), "lost"),
        (os_error(errno.ENOSPC), "full"),
        (os_error(errno.ENOSPC, "/shared/campaign/scratch/k/checkpoint.npz"), "full"),
        (os_error(errno.EDQUOT, "/shared/campaign/members/k.npz"), "full"),
        (os_error(errno.ENOSPC, "/tmp/jax_cache/program"), "lost"),
        (os_error(errno.ENOSPC, "/shared/campaigns_of_others/x"), "lost"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{type(value).__name__}: {value}",
)
def test_what_an_exception_says(error: Exception, ending: str) -> None:
    assert ending_of(error, FOLDER) == ending
    wrapped: Exception
    try:
        raise InputError("counts.fits: cannot be read") from error
    except InputError as raised:
        wrapped = raised
    assert ending_of(wrapped, FOLDER) == ending  # a reader's one line hides nothing


def test_jax_itself_names_its_exception_so() -> None:
    from jax.errors import JaxRuntimeError

    assert ending_of(JaxRuntimeError("INTERNAL: failed to launch"), FOLDER) == "lost"
    assert ending_of(JaxRuntimeError("INVALID_ARGUMENT: no"), FOLDER) == "failed"


def test_a_callback_that_raises_is_the_fit_s_own() -> None:
    """As XLA tells of it today."""
    import jax

    def refuse(_x: np.ndarray) -> np.ndarray:
        raise ValueError("pixel 7")

    with pytest.raises(jax.errors.JaxRuntimeError, match="pixel 7") as raised:
        jax.jit(lambda x: jax.pure_callback(refuse, x, x))(1.0).block_until_ready()
    assert ending_of(raised.value, FOLDER) == "failed"


def test_what_a_full_disk_asks_for(tmp_path: Path) -> None:
    assert is_full(os_error(errno.EDQUOT))
    assert not is_full(os_error(errno.EIO))
    text = str(no_room(tmp_path, "line", "go on with it"))
    assert text.startswith(f"folder {tmp_path}: no room for results: line (")
    assert text.endswith("make room or raise the quota, and go on with it: nothing that was stored is lost")
    assert "GB free" not in str(no_room(tmp_path / "gone", "line", ""))
