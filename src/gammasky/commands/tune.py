"""`gammasky tune`: settings of a variational fit, or choices of a model, searched by Optuna."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from gammasky.commands.campaign import read_ensemble
from gammasky.commands.fit import command as fit_command
from gammasky.commands.options import FILE, FOLDER, data_options, positive_finite, start_engine
from gammasky.commands.runners import allow_mixed_option, places
from gammasky.engine.infer.methods.svi import Svi

_TUNABLE = {name: option for name, option in Svi.options.items() if option.tunable}
_SEARCHED = [f"{name}={option.searched}" for name, option in _TUNABLE.items() if option.searched]


@click.command()
@click.argument("model", default="fiducial")
@data_options
@click.option("--trials", type=click.IntRange(min=1), default=30, show_default=True, help="Trials in all.")
@click.option(
    "--objective",
    metavar="NAME",
    help="elbo, elbo_per_second or k_hat; with --ensemble log_z or elbo.  [default: elbo, or log_z]",
)
@click.option("--steps", type=click.IntRange(min=8), default=2000, show_default=True, help="Most steps of a fit.")
@click.option(
    "--seconds",
    type=float,
    callback=positive_finite,
    help="Time of the steps of a fit.  [default: what the paper's settings take for all steps]",
)
@click.option(
    "--search",
    "asked",
    multiple=True,
    metavar="NAME=VALUES",
    help=f"A setting ({', '.join(_TUNABLE)}) and its values, A,B,C or LOW:HIGH[:log]; may be repeated.  "
    f"[default: {' '.join(_SEARCHED)} and a quarter, half and all of the --steps]",
)
@click.option("--ensemble", type=FILE, metavar="FILE", help="Search the axes of this ensemble instead of settings.")
@click.option("--storage", metavar="URL", help="Database: sqlite:///FILE, postgresql://...  [default: a file in DIR]")
@click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), default=0, show_default=True, help="Seed of it all.")
@places
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder of the search; workers must see it.")
@click.option("--resume", is_flag=True, help="Go on with the search in DIR; --trials may grow.")
@allow_mixed_option
@click.option("--quiet", is_flag=True, help="No live progress.")
def tune(
    model: str,
    data_name: str,
    data_dir: Path | None,
    trials: int,
    objective: str | None,
    steps: int,
    seconds: float | None,
    asked: tuple[str, ...],
    ensemble: Path | None,
    seed: int,
    workers: int | None,
    address: str | None,
    out: Path,
    **options: Any,
) -> None:
    """Search for the settings of a variational fit of MODEL (default: fiducial) that do best in a given time.

    Trial 0 are the settings of arXiv:2604.08648. Trials that fall behind end early. DIR receives trials.csv and the
    study, which optuna-dashboard opens. With --ensemble, the choices along its axes are searched for the highest
    evidence instead.
    """
    start_engine("gammasky.analyses.tuning.search")
    from gammasky.analyses.tuning.report import best_table, summary
    from gammasky.analyses.tuning.search import tune_fit, tune_models
    from gammasky.analyses.tuning.settings import settings_space
    from gammasky.distributed.runners.place import runner_at
    from gammasky.engine.terminal import wide_console

    where: dict[str, Any] = {"runner": runner_at(address, workers), "at_once": workers, **options}
    if ensemble is not None and asked:
        raise click.UsageError("--search and --ensemble exclude each other: the axes of the ensemble are searched")
    objective = objective or ("elbo" if ensemble is None else "log_z")
    with _told_how_to_go_on(out):
        if ensemble is not None:
            members = read_ensemble(str(ensemble), data_dir).expansion
            found = tune_models(out, members, trials, objective=objective, **where)
        else:
            wanted: dict[str, Any] = {"objective": objective, "steps": steps, "seconds": seconds, "seed": seed}
            space = settings_space(steps, objective, asked)
            found = tune_fit(out, model, data_name, data_dir, space, trials, **wanted, **where)
    wide_console().print(best_table(found, objective))
    click.echo(summary(found))
    if found.best and ensemble is None:
        best = {"method": Svi.name, "emulator": False, "steps": steps, **found.best.params}
        click.echo(f"the best settings: {fit_command(model, data_name, data_dir, 'DIR', best)}")


@contextmanager
def _told_how_to_go_on(folder: Path) -> Iterator[None]:
    """Say, where a search is interrupted, how to go on with it."""
    from gammasky.distributed.folder import Places

    try:
        yield
    except KeyboardInterrupt:
        if Places(folder).manifest.exists():
            click.echo("gammasky: interrupted; the same command with --resume goes on", err=True)
        raise
