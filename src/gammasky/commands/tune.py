"""`gammasky tune`: settings of a variational fit, or choices of a model, searched by Optuna."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from gammasky.commands.campaign import read_ensemble
from gammasky.commands.fit import command as fit_command
from gammasky.commands.options import FOLDER, data_options, positive_finite, start_engine
from gammasky.commands.runners import allow_mixed_option, keep_going_option, lanes_option, places
from gammasky.engine.infer.methods.svi import Svi

_TUNABLE = {name: option for name, option in Svi.options.items() if option.tunable}
_SEARCHED = [f"{name}={option.searched}" for name, option in _TUNABLE.items() if option.searched]


@click.command()
@click.argument("model", default="fiducial")
@data_options
@click.option("--trials", type=click.IntRange(min=1), help="Trials in all.  [default: 30, or what the ensemble says]")
@click.option("--objective", metavar="NAME", help="Of settings: elbo, elbo_per_second or k_hat.  [default: elbo]")
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
@click.option(
    "--ensemble", metavar="FILE", help="Search the axes of this ensemble, a file or a name, instead of settings."
)
@click.option("--minimise", multiple=True, metavar="COLUMN", help="Along axes: a column of a fit; may be repeated.")
@click.option(
    "--maximise", multiple=True, metavar="COLUMN", help="The same, to be made large.  [default: the ensemble's; log_z]"
)
@click.option(
    "--constraint",
    "constraints",
    multiple=True,
    metavar="TEXT",
    help="Along axes: what a trial must meet, such as 'reliable' or 'log_z >= best - 5'; may be repeated.",
)
@click.option("--sampler", metavar="NAME", help="tpe, random, qmc, nsga2 or cmaes.  [default: tpe]")
@click.option(
    "--pruner",
    metavar="NAME",
    help="none, halving, hyperband or median: ends svi fits to the likelihood itself early.  "
    "[default: halving for settings, none along axes]",
)
@click.option(
    "--at-once",
    type=click.IntRange(min=1),
    help="Along axes: trials that are chosen before the results of each other are known.  [default: 8]",
)
@click.option("--storage", metavar="URL", help="Database: sqlite:///FILE, postgresql://...  [default: a file in DIR]")
@click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), default=0, show_default=True, help="Seed of it all.")
@places
@lanes_option
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder of the search; workers must see it.")
@click.option("--resume", is_flag=True, help="Go on with the search in DIR; --trials may grow.")
@click.option(
    "--retry-failed", is_flag=True, help="With --resume: try again, in new trials, what has failed by itself."
)
@keep_going_option
@allow_mixed_option
@click.option("--quiet", is_flag=True, help="No live progress.")
@click.pass_context
def tune(
    context: click.Context,
    model: str,
    data_name: str,
    data_dir: Path | None,
    trials: int | None,
    objective: str | None,
    steps: int,
    seconds: float | None,
    asked: tuple[str, ...],
    ensemble: str | None,
    minimise: tuple[str, ...],
    maximise: tuple[str, ...],
    constraints: tuple[str, ...],
    sampler: str | None,
    pruner: str | None,
    at_once: int | None,
    seed: int,
    workers: int | None,
    address: str | None,
    lanes: int,
    out: Path,
    **options: Any,
) -> None:
    """Search for the settings of a variational fit of MODEL (default: fiducial) that do best in a given time.

    Trial 0 are the settings of arXiv:2604.08648. Trials that fall behind end early. DIR receives trials.csv and the
    study, which optuna-dashboard opens.

    With --ensemble, search along the axes of an ensemble instead: masks, priors, numbers of breaks, methods. Every
    trial is a whole fit; columns of its row are made small or large under constraints. DIR receives a report.html, too.
    """
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    of_axes = {"lanes", "minimise", "maximise", "constraints", "at_once"}
    of_settings = {"model", "objective", "steps", "seconds", "asked"}
    if stray := given & (of_axes if ensemble is None else of_settings):
        other = "--ensemble" if ensemble is None else "a search for settings"
        with_what = "needs --ensemble" if ensemble is None else "and --ensemble exclude each other"
        name = next(p for p in context.command.params if p.name in stray)
        told = name.opts[-1] if isinstance(name, click.Option) else name.human_readable_name
        raise click.UsageError(f"{told} {with_what}" + ("" if ensemble is None else f": it is of {other}"))
    if ensemble is not None:
        where = {"address": address, "workers": workers, "lanes": lanes, **options}
        if "seed" in given:
            where["seed"] = seed
        sought = {"minimise": minimise or None, "maximise": maximise or None, "constraints": constraints or None,
                  "sampler": sampler, "pruner": pruner, "at_once": at_once, "trials": trials}  # fmt: skip
        data = data_name if "data_name" in given else None
        with _told_how_to_go_on(out):
            _along_axes(ensemble, data, data_dir, out, sought, where)
        return
    start_engine("gammasky.analyses.tuning.search")
    from gammasky.analyses.tuning.report import best_table, summary
    from gammasky.analyses.tuning.search import tune_fit
    from gammasky.analyses.tuning.settings import settings_space
    from gammasky.distributed.runners.place import runner_at
    from gammasky.engine.terminal import wide_console

    objective = objective or "elbo"
    wanted: dict[str, Any] = {"objective": objective, "steps": steps, "seconds": seconds, "seed": seed, **options}
    wanted |= {name: value for name, value in (("sampler", sampler), ("pruner", pruner)) if value is not None}
    with _told_how_to_go_on(out):
        space, runner = settings_space(steps, objective, asked), runner_at(address, workers)
        found = tune_fit(out, model, data_name, data_dir, space, trials or 30, runner, at_once=workers, **wanted)
    wide_console().print(best_table(found, objective))
    click.echo(summary(found))
    if found.best:
        best = {"method": Svi.name, "emulator": False, "steps": steps, **found.best.params}
        click.echo(f"the best settings: {fit_command(model, data_name, data_dir, 'DIR', best)}")


def _along_axes(
    name: str, data: str | None, data_dir: Path | None, out: Path, sought: dict[str, Any], where: dict[str, Any]
) -> None:
    """Search along the axes of an ensemble, and say what was found."""
    ensemble = read_ensemble(name, data_dir, data)
    from gammasky.analyses.tuning.report import best_table, summary, swept_lines, swept_table
    from gammasky.distributed.tuning.search import Found
    from gammasky.engine.terminal import wide_console

    searched = ensemble.tune(out, **sought, **where)
    if isinstance(searched.found, Found):
        wide_console().print(best_table(searched.found, "value"))
        click.echo(summary(searched.found))
        return
    wide_console().print(swept_table(searched.found))
    for line in swept_lines(searched.found):
        click.echo(line)
    click.echo(f"the report: {out / 'report.html'}")
    if searched.best is not None:
        again = fit_command(str(out / "best_model.toml"), ensemble.data, data_dir, "DIR", searched.best_settings)
        click.echo(f"the best fit with all its files: {again}")


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
