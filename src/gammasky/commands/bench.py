"""`gammasky bench`: how fast the engine is on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gammasky.commands.options import data_options, start_engine
from gammasky.engine.interrupt import Interrupts

LABELS = {
    "model_ms_per_particle": "full model, value and gradient [ms per particle]",
    "op_ms_per_particle": "point-source operation alone, value and gradient [ms per particle]",
    "reference_ratio": "plain-JAX reference / operation [times slower]",
    "particles": "particles",
    "threads": "threads",
}


@click.group(no_args_is_help=False)
def bench() -> None:
    """Measure the speed of the engine on this machine."""


@bench.command()
@data_options
@click.option("--model", default="fiducial", show_default=True, metavar="NAME|FILE", help="Model with point sources.")
@click.option("--particles", type=click.IntRange(min=1), default=8, show_default=True, help="Points per evaluation.")
@click.option("--repeats", type=click.IntRange(min=1), default=20, show_default=True, help="Timed evaluations.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def likelihood(data_name: str, data_dir: Path | None, model: str, particles: int, repeats: int, as_json: bool) -> None:
    """Time the likelihood of a model and its gradient."""
    start_engine()
    from gammasky.engine.bench import likelihood_benchmark

    with Interrupts():  # KeyboardInterrupt within a kernel would be an error of XLA's, with its traceback
        result = likelihood_benchmark(data_name, data_dir, particles, repeats, model)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for key, value in result.items():
        number = f"{value:.3g}" if isinstance(value, float) else str(value)
        click.echo(f"{LABELS.get(key, key):<70} {number:>10}")
