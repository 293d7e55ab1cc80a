"""`gammasky loglike`: the log-likelihood and its gradient at one parameter point."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gammasky.commands.options import FILE, data_options, start_engine
from gammasky.commands.point import read_point
from gammasky.engine.errors import InputError
from gammasky.engine.files import replacing
from gammasky.engine.interrupt import Interrupts

if TYPE_CHECKING:
    import numpy as np


@click.command()
@click.argument("model")
@data_options
@click.option("--params", type=FILE, required=True, metavar="FILE.json", help="Parameters: name -> number or list.")
@click.option("--grad", is_flag=True, help="Add the gradient with respect to every parameter.")
@click.option("--per-pixel", type=FILE, metavar="FILE.npy", help="Write the log-likelihood of each pixel.")
def loglike(
    model: str, data_name: str, data_dir: Path | None, params: Path, grad: bool, per_pixel: Path | None
) -> None:
    """Evaluate MODEL at one parameter point and print JSON.

    Keys: "log_likelihood", "pixels" (their number) and, with --grad, "gradient" (name -> number or list).
    """
    point = read_point(params)
    if per_pixel is not None and not per_pixel.parent.is_dir():
        raise InputError(f"--per-pixel '{per_pixel}': folder '{per_pixel.parent}' does not exist; create it first")
    start_engine()
    from gammasky.engine.model.loglike import evaluate

    with Interrupts():  # KeyboardInterrupt within a kernel would be an error of XLA's, with its traceback
        result = evaluate(model, data_name, data_dir, point, gradient=grad)
    if per_pixel is not None:
        _save_array(per_pixel, result.per_pixel)
    answer: dict[str, Any] = {"log_likelihood": float(result.log_likelihood)}
    if grad:
        answer["gradient"] = {name: _plain(value) for name, value in (result.gradient or {}).items()}
    answer["pixels"] = len(result.per_pixel)
    click.echo(json.dumps(answer, indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    """A number or array as what JSON knows."""
    return value.tolist() if hasattr(value, "tolist") else value


def _save_array(path: Path, values: np.ndarray) -> None:
    """Write `values` as .npy, whole or not at all; the name of the file is as given."""
    import numpy as np

    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.asarray(values), allow_pickle=False)
