"""`gammasky test`: a model against one that is nested in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gammasky.commands.options import FOLDER, data_options, start_engine
from gammasky.commands.runners import running


@click.command("test")
@click.argument("model", default="fiducial")
@data_options
@click.option(
    "--null",
    multiple=True,
    required=True,
    metavar="CONDITION",
    help="'S_gce = 0', 'f_bulge_ps = f_bulge_poiss' or 'without gce_ps'; may be repeated: all hold together.",
)
@click.option("--skies", type=click.IntRange(min=1), default=200, show_default=True, help="Skies of the null.")
@click.option(
    "--simulator",
    default="likelihood",
    show_default=True,
    metavar="NAME",
    help="likelihood (independent pixels) or photons (sources on the sphere, PSF).",
)
@click.option(
    "--p", "smallest_p", type=float, metavar="P", help="Refuse to start with too few skies for a p-value this small."
)
@click.option("--evidence", is_flag=True, help="The Bayes factor, too: the evidence of both models by the emulator.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random number.")
@running
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder for the skies, tables and figures.")
def nested(
    model: str,
    data_name: str,
    data_dir: Path | None,
    null: tuple[str, ...],
    skies: int,
    simulator: str,
    smallest_p: float | None,
    evidence: bool,
    seed: int,
    address: str | None,
    workers: int | None,
    lanes: int,
    out: Path,
    **options: Any,
) -> None:
    """Test MODEL (default: fiducial) against a null that is nested in it, on skies of the null.

    TS is twice the difference of the maxima of the log-likelihood within the supports of the priors; its distribution
    is that of skies drawn from the fitted null. The same command goes on where an interrupted one stopped, and --skies
    may grow.
    """
    start_engine("gammasky.analyses.nested.run")
    from gammasky.analyses.nested.nested import NestedTest
    from gammasky.analyses.nested.run import run_test
    from gammasky.distributed.member import Resources
    from gammasky.distributed.runners.place import runner_at
    from gammasky.engine.kernels.threads import thread_count

    folder = None if data_dir is None else str(data_dir)
    study = NestedTest(
        model, data_name, folder, skies=skies, simulator=simulator, seed=seed, null=null, smallest_p=smallest_p
    )
    at_once = 1 if address is None else workers or thread_count()
    resources = Resources(cpus=max(thread_count() // at_once, 1))
    runner = runner_at(address, workers, lanes)
    result = run_test(study, runner, out, evidence=evidence, resources=resources, **options)
    click.echo(result.text())
