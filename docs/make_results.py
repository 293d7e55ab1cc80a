"""docs/studies/results.md, from the folders of studies that were run.

    gammasky study masks --data fermi --out studies/masks        # and others, each into a folder of its name
    python docs/make_results.py studies

Copies the tables and figures of every study that is found there to docs/studies, and writes the page from all tables
that are there then: what was not run again keeps its tables. No number of the page is typed by hand.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import gammasky
from gammasky.analyses.ensemble.quantities import QUANTITIES
from gammasky.analyses.studies.skies import SEPARATOR
from gammasky.analyses.studies.study import InjectedSkies, SmoothSkies, Study, read_study, studies
from gammasky.distributed.table import write_csv

if TYPE_CHECKING:
    from xarray import DataArray

HERE = Path(__file__).parent / "studies"
TABLES, FIGURES, PAGE = HERE / "tables", HERE / "figures", HERE / "results.md"
Row = dict[str, str]
#: Of the folder of a study: what is kept, and as what.
KEPT = {"campaign/answer.csv": "members", "campaign/effects.csv": "effects", "study.csv": "study"}
DRAWN = {
    "source_counts.png": "Source counts of every member",
    "recovery.png": "What is found of the signal that was added",
    "fractions.png": "Point-source fraction found in every sky",
    "campaign/figures/effects_ps_fraction.png": "Shift of the point-source fraction with every choice",
}
#: Of one member: parameters whose posterior is shown, by the beginning of their names.
SHAPE = {"morphology": ("morphology=base,shape=free_bar", "bar_")}
HEAD = """# Studies of the Fermi-LAT data: what they found

Written by `docs/make_results.py` from the studies themselves. Each section is one command on two cores, by the default
method ([inference](../inference.md)), with its table; whole tables are in `docs/studies/tables`. Fractions are
5 / 50 / 95 % of the posterior, fluxes mean ± standard deviation in counts per pixel. Ranges and shifts are those of the
members whose verdict is *reliable*. log Z compares fits of the same photons in the same pixels only. Masks x shapes x
diffuse models: [campaigns](../campaigns.md#measured-36-fits-of-the-fermi-lat-data).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="Of the studies, each in a folder of its name.")
    folder = parser.parse_args().folder
    gammasky.configure()
    for name in studies():
        if (folder / name / "study.csv").is_file():
            _keep(name, folder / name)
    known = [read_study(name) for name in studies() if (TABLES / f"{name}_members.csv").is_file()]
    text = HEAD + "\n" + "\n".join(_overview(known)) + "\n"
    for study in known:
        text += "\n" + "\n".join(_section(study)) + "\n"
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE}: {', '.join(study.name for study in known)}")


def _keep(name: str, folder: Path) -> None:
    """The tables and figures of a study; what is an effect between fits of one sky is none between skies, nor seeds."""
    study = read_study(name)
    without_effects = study.skies is not None or "seed" in (study.ensemble or {}).get("axes", {})
    for source, kind in KEPT.items():
        if (folder / source).is_file() and not (without_effects and kind == "effects"):
            shutil.copyfile(folder / source, TABLES / f"{name}_{kind}.csv")
    for source in DRAWN:
        if (folder / source).is_file() and not (without_effects and "effects" in source):
            shutil.copyfile(folder / source, FIGURES / f"{name}_{Path(source).name}")
    made = {file.parent.name: tomllib.loads(file.read_text()) for file in folder.glob("skies/*/sky_0000.toml")}
    norms = {truth: sky["truth"]["S_gce"] for truth, sky in made.items() if "S_gce" in sky["truth"]}
    if norms:  # a norm is the mean number of counts per pixel
        write_csv(TABLES / f"{name}_truths.csv", [{"truth": name, "excess_flux": norm} for name, norm in norms.items()])
    if name in SHAPE:
        member, prefix = SHAPE[name]
        posterior = gammasky.Campaign(folder / "campaign").posterior(member)["posterior"]
        numbers = [posterior[parameter] for parameter in posterior.data_vars if str(parameter).startswith(prefix)]
        write_csv(TABLES / f"{name}_shape.csv", [_quantiles(number) for number in numbers])


def _quantiles(number: DataArray) -> dict[str, Any]:
    low, middle, high = number.quantile([0.05, 0.5, 0.95]).values
    about = {"unit": number.attrs["units"], "prior": number.attrs["prior"]}
    return {"parameter": number.name, "q05": low, "q50": middle, "q95": high, **about}


def _overview(known: list[Study]) -> Iterator[str]:
    yield "| study | fits | reliable | medians of the point-source fraction | choice that moves it most |"
    yield "| --- | ---: | ---: | --- | --- |"
    for study in known:
        rows = _read(study.name, "members")
        trusted = [row for row in rows if row["verdict"] == "reliable"]
        medians = _column(trusted, "ps_fraction_q50")
        span = f"{np.nanmin(medians):.2f} to {np.nanmax(medians):.2f}" if np.isfinite(medians).any() else ""
        yield f"| [{study.name}](#{study.name}) | {len(rows)} | {len(trusted)} | {span} | {_strongest(study)} |"


def _strongest(study: Study) -> str:
    """The choice that shifts the point-source fraction most, in posterior standard deviations of one fit."""
    effects = [row for row in _read(study.name, "effects") if row["quantity"] == "ps_fraction"]
    effects = [row for row in effects if np.isfinite(_number(row, "shift"))]
    if not effects or study.skies is not None:
        return ""
    most = max(effects, key=lambda row: abs(float(row["shift"])))
    sds = abs(float(most["shift"])) / float(most["posterior_sd"])
    return f"{_choice(most)}: {float(most['shift']):+.2f} ({sds:.1f} posterior sd of one fit)"


def _choice(row: Row) -> str:
    return f"{row['axis']} = {row['choice']}"


def _section(study: Study) -> Iterator[str]:
    rows = _read(study.name, "members")
    yield f"## {study.name}"
    yield f"\n{study.asks}\n"
    made = max((int(row["skies"]) for row in _read(study.name, "study")), default=0)  # of a truth
    skies = f" --skies {made}" if isinstance(study.skies, SmoothSkies) else ""
    yield f"    gammasky study {study.name}{skies} --data fermi --out studies/{study.name}\n"
    verdicts = Counter(row["verdict"] for row in rows).most_common()
    yield f"{len(rows)} {'fit' if len(rows) == 1 else 'fits'}: {', '.join(f'{n} *{name}*' for name, n in verdicts)};"
    gradients, seconds = (_column(rows, name) for name in ("gradients", "fit_seconds"))
    yield f"{np.median(gradients):,.0f} gradients and {np.median(seconds):.0f} s of a fit in the median.\n"
    if study.skies is not None:
        yield from _skies(study)
    else:
        yield from _by_seed(rows) if _repeats(rows) else _members(rows)
    yield from _shape(study)
    yield from _effects(study)
    yield from _sensitivities(study)
    for source, caption in DRAWN.items():
        name = f"{study.name}_{Path(source).name}"
        if (FIGURES / name).is_file():
            yield f"\n![{caption}](figures/{name})"


def _members(rows: list[Row]) -> Iterator[str]:
    """A line for each member; the best evidence of each set of pixels is 0."""
    best: dict[str, float] = {}
    for row in rows:
        best[row["data_group"]] = max(best.get(row["data_group"], -np.inf), _number(row, "log_z"))
    yield "| member | log Z | below the best of its pixels | point-source fraction | flux of the excess |"\
        " of it smooth | bulge fraction of the sources | verdict |"  # fmt: skip
    yield "| --- | ---: | ---: | --- | --- | --- | --- | --- |"
    for row in rows:
        alone = sum(other["data_group"] == row["data_group"] for other in rows) == 1
        below = "" if alone else f"{best[row['data_group']] - _number(row, 'log_z'):.1f}"
        name = row["name"].replace("|", "/")
        log_z = f"{_number(row, 'log_z'):.2f} ± {_number(row, 'log_z_error'):.2f}"
        yield f"| {name} | {log_z} | {below} | {_interval(row)} |"\
            f" {_with_sd(row, 'excess_flux')} | {_with_sd(row, 'smooth_flux')} | {_with_sd(row, 'f_bulge_ps')} |"\
            f" {row['verdict']} |"  # fmt: skip


def _repeats(rows: list[Row]) -> bool:
    """Whether the members are fits of the same models by several seeds."""
    return len({row.get("axis.seed", "") for row in rows}) > 1


def _by_seed(rows: list[Row]) -> Iterator[str]:
    """A line for all seeds of a model: the median of each number, and the standard deviation from seed to seed."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        others = [value for name, value in row.items() if name.startswith("axis.") and name != "axis.seed"]
        groups.setdefault(", ".join(others), []).append(row)
    yield "| model | seeds | reliable | gradients, largest | log Z | point-source fraction | flux of the excess |"
    yield "| --- | ---: | ---: | --- | --- | --- | --- |"
    for model, of_model in groups.items():
        reliable = sum(row["verdict"] == "reliable" for row in of_model)
        gradients = _column(of_model, "gradients")
        fraction = " / ".join(_repeated(of_model, f"ps_fraction_{q}") for q in ("q05", "q50", "q95"))
        yield f"| {model} | {len(of_model)} | {reliable} | {np.median(gradients):,.0f}, {gradients.max():,.0f} |"\
            f" {_repeated(of_model, 'log_z')} | {fraction} | {_repeated(of_model, 'excess_flux_mean')} |"  # fmt: skip


def _repeated(rows: list[Row], name: str) -> str:
    values = _column(rows, name)
    return f"{np.median(values):.2f} ± {values.std(ddof=1):.2f}"


def _skies(study: Study) -> Iterator[str]:
    """A line for all skies of a truth under the same choices."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in _read(study.name, "members"):
        others = (f"{name[5:]} = {value}" for name, value in row.items() if name.startswith("axis."))
        truth = row["axis.sky"].rpartition(SEPARATOR)[0]
        choices = ", ".join(text for text in others if not text.startswith("sky ="))
        groups.setdefault((truth, choices or "the model"), []).append(row)
    yield from _injected(groups) if isinstance(study.skies, InjectedSkies) else _smooth(study, groups)


def _injected(groups: dict[tuple[str, str], list[Row]]) -> Iterator[str]:
    """What is found of a signal, above what the data have without it."""
    yield "| injected | sources in the model | flux of the excess | of it smooth | found of the signal |"\
        " of it smooth | log Z | verdict |"  # fmt: skip
    yield "| ---: | --- | --- | --- | ---: | ---: | --- | --- |"
    for (truth, choices), rows in groups.items():
        found = []
        for name in ("excess_flux", "smooth_flux"):
            above = np.mean(_column(rows, f"{name}_mean")) - np.mean(_column(groups["0", choices], f"{name}_mean"))
            found.append(f"{above:+.2f}" if float(truth) else "")
        (row,) = rows
        log_z = f"{_number(row, 'log_z'):.2f} ± {_number(row, 'log_z_error'):.2f}"
        yield f"| {truth} | {choices.rpartition('= ')[2]} | {_with_sd(row, 'excess_flux')} |"\
            f" {_with_sd(row, 'smooth_flux')} | {' | '.join(found)} | {log_z} | {row['verdict']} |"  # fmt: skip


def _smooth(study: Study, groups: dict[tuple[str, str], list[Row]]) -> Iterator[str]:
    """What is found in skies that have no point sources; log Z of the fits of one sky is compared."""
    truths = {row["truth"]: _shown(row, "excess_flux") for row in _read(study.name, "truths")}
    best: dict[str, float] = {}
    for row in (row for rows in groups.values() for row in rows):
        best[row["axis.sky"]] = max(best.get(row["axis.sky"], -np.inf), _number(row, "log_z"))
    yield "| truth, all smooth | its flux of the excess | fitted with | skies | reliable | point-source fraction:"\
        " medians | largest 95 % | flux of the excess found | its sd in one fit | log Z below the best |"  # fmt: skip
    yield "| --- | ---: | --- | ---: | ---: | --- | ---: | --- | ---: | --- |"
    for (truth, choices), rows in groups.items():
        medians, highs, flux, sd = (
            _column(rows, name) for name in ("ps_fraction_q50", "ps_fraction_q95", "excess_flux_mean", "excess_flux_sd")
        )
        below = np.array([best[row["axis.sky"]] - _number(row, "log_z") for row in rows])
        reliable = sum(row["verdict"] == "reliable" for row in rows)
        scatter = f" ± {flux.std(ddof=1):.2f}" if len(rows) > 1 else ""
        yield f"| {truth} | {truths.get(truth, '')} | {choices.rpartition('= ')[2]} | {len(rows)} | {reliable} |"\
            f" {medians.min():.3f} to {medians.max():.3f} | {highs.max():.2f} | {flux.mean():.2f}{scatter} |"\
            f" {sd.mean():.2f} | {below.min():.1f} to {below.max():.1f} |"  # fmt: skip


def _shape(study: Study) -> Iterator[str]:
    """The posterior of the parameters of a shape that was fitted, with their priors."""
    rows = _read(study.name, "shape")
    if not rows:
        return
    yield f"\nThe shape that was fitted, of `{SHAPE[study.name][0]}`:\n"
    yield "| parameter | 5 / 50 / 95 % | unit | prior |"
    yield "| --- | --- | --- | --- |"
    for row in rows:
        values = " / ".join(f"{_number(row, q):.3g}" for q in ("q05", "q50", "q95"))
        yield f"| `{row['parameter']}` | {values} | {row['unit']} | {row['prior']} |"


def _effects(study: Study) -> Iterator[str]:
    """Every choice that moves a quantity by more than its error."""
    moved = [row for row in _read(study.name, "effects") if row["moves"] == "True"]
    moved.sort(key=lambda row: -abs(float(row["shift"])) / float(row["posterior_sd"]))
    if study.skies is not None or not moved:
        return
    yield "\nWhat moves the answer by more than the posterior standard deviation of one fit, and more than twice the"
    yield "error of the shift:\n"
    yield "| quantity | choice | shift | error | posterior sd |"
    yield "| --- | --- | ---: | ---: | ---: |"
    for row in moved:
        cells = (
            f"{_number(row, name):.2g}" if np.isfinite(_number(row, name)) else "" for name in ("error", "posterior_sd")
        )
        shift = f"{_number(row, 'shift'):+.2g}"
        yield f"| {QUANTITIES[row['quantity']][0]} | {_choice(row)} | {shift} | {' | '.join(cells)} |"


def _sensitivities(study: Study) -> Iterator[str]:
    """Power scaling of the point-source fraction."""
    rows = _read(study.name, "study")
    parts = [
        part for part in ("likelihood", "priors", "source_priors") if f"ps_fraction_by_{part}" in (rows or [{}])[0]
    ]
    if not parts:
        return
    yield "\nPower scaling: how far the point-source fraction moves with each factor (above 0.05 it matters).\n"
    yield f"| member | {' | '.join(part.replace('_', ' ') for part in parts)} |"
    yield f"| --- |{' ---: |' * len(parts)}"
    for row in rows:
        yield f"| {row['truth']} | {' | '.join(_shown(row, f'ps_fraction_by_{part}') for part in parts)} |"


def _shown(row: Row, name: str, form: Callable[[float], str] = "{:.2f}".format) -> str:
    value = _number(row, name)
    return form(value) if np.isfinite(value) else ""


def _interval(row: Row) -> str:
    return " / ".join(_shown(row, f"ps_fraction_{q}") for q in ("q05", "q50", "q95")).strip(" /")


def _with_sd(row: Row, name: str) -> str:
    mean = _shown(row, f"{name}_mean")
    return mean and f"{mean} ± {_shown(row, f'{name}_sd')}"


def _read(study: str, kind: str) -> list[Row]:
    path = TABLES / f"{study}_{kind}.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _number(row: Row, name: str) -> float:
    return float(row.get(name) or np.nan)


def _column(rows: list[Row], name: str) -> np.ndarray:
    return np.array([_number(row, name) for row in rows])


if __name__ == "__main__":
    main()
