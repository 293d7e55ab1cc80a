"""What fields on the gas do for the flux of the excess, and for its point-source fraction, on simulated skies.

    python benchmarks/field_injection.py OUT [--skies 10] [--truths A F p6v11 O skewed] [--fits rigid l4 l8 l4_excess]
                                             [--method auto] [--seed 0]

Every sky has smooth emission alone, photon by photon, at the best fit of its truth to the data set `fermi`: gas and
inverse Compton of Model A, F, p6v11 or O, not modulated, with the excess of the model `fiducial`; in `skewed` they are
those of Model O, and the excess is a tilted, flattened NFW profile away from the centre. Each is fitted with `fiducial`
on Model O, point sources included:

    rigid          the gas as it is
    l4, l8         a field on the gas, of spherical harmonics up to that degree
    l4_excess      besides, one that the smooth excess and its sources share, as in `fiducial_field`

One line of JSON for each fit in OUT/fits.jsonl, which a second call goes on with: the true flux of the excess and its
posterior mean and sd [counts per pixel], how many sd they are apart, quantiles of the point-source fraction (the truth
is 0), the share of the excess that the mean map puts in a wrong place, and the verdict. A table of all fits so far ends
the run. Best fits of truths are kept in OUT, too.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky import Dataset, Settings, SkyModel, configure, fit
from gammasky.analyses.ensemble.diffuse import with_diffuse, with_modulation
from gammasky.analyses.ensemble.patch import patched
from gammasky.analyses.studies.skies import used_parameters
from gammasky.engine.files import write_json
from gammasky.engine.infer.derived import FIELD_SD, FLUX, POINT_SOURCE_FRACTION, predicted_maps, spread
from gammasky.engine.infer.optimise import laplace
from gammasky.engine.model.simulate import PhotonSimulator
from gammasky.engine.model.spec import model_from_table, read_model
from gammasky.engine.model.values import Parameters

GROUP = "gce"
STARTS = 4  # of the climb to the best fit of a truth
MAP_DRAWS = 256
QUANTILES = (0.05, 0.16, 0.5, 0.84, 0.95)
LARGEST_PULL, LARGEST_FRACTION = 2.0, 0.2  # of a fit that is right
SMOOTH: dict[str, Any] = {"remove": ["gce_ps", "dsk_ps"]}
SKEWED = {"nfw": {"gamma": 1.2, "axis_ratio": 0.6, "tilt": 40.0, "centre_lon": 1.5, "centre_lat": 1.0}}
TRUTHS: dict[str, tuple[str, dict[str, Any]]] = {
    **{diffuse: (diffuse, SMOOTH) for diffuse in ("A", "F", "p6v11", "O")},
    "skewed": ("O", {**SMOOTH, "components.gce.template": SKEWED}),
}
PRIORS = {
    "a_pib": {"prior": "halfnormal", "sd": 0.3},
    "s_pib": {"prior": "uniform", "low": 0.0, "high": 4.0},
    "z_pib": {"prior": "normal", "mean": 0.0, "sd": 1.0},
    "a_gce": {"prior": "halfnormal", "sd": 0.2},
    "ell_gce": {"prior": "loguniform", "low": 14.0, "high": 20.0, "unit": "deg"},
    "z_gce": {"prior": "normal", "mean": 0.0, "sd": 1.0},
}
ON_EXCESS = {"kernel": "matern52", "amplitude": "a_gce", "length_deg": "ell_gce", "modes": 6, "coefficients": "z_gce"}
FITS = ("rigid", "l4", "l8", "l4_excess")


def built(diffuse: str, changes: dict[str, Any], dataset: Dataset, l_max: int = 0, *, excess: bool = False) -> SkyModel:
    """`fiducial` on one diffuse model, changed, with a field of l <= l_max on the gas and one on the excess."""
    table = with_modulation(with_diffuse(read_model("fiducial").model_dump(mode="json"), diffuse), 0)
    table = patched(table, changes, "field_injection")
    for component in table["components"]:
        template = component["template"]
        if l_max and component["name"] == "pib":
            template["field"] = {"harmonics": l_max, "amplitude": "a_pib", "slope": "s_pib", "coefficients": "z_pib"}
        if excess and component.get("group") == GROUP:
            template["field"] = ON_EXCESS
    table["parameters"] |= PRIORS
    return SkyModel(model_from_table(table | {"parameters": used_parameters(table)}), dataset)


def fitted_model(name: str, dataset: Dataset) -> SkyModel:
    """The model of one of `FITS`."""
    degree = {"rigid": 0, "l8": 8}.get(name, 4)
    return built("O", {}, dataset, degree, excess=name.endswith("excess"))


def best_fit(model: SkyModel, file: Path, seed: int) -> Parameters:
    """The parameters of a truth at its best fit to the data, from the file if it is there."""
    if not file.exists():
        found = model.parameters(jnp.asarray(laplace(model, seed, STARTS).mode))
        write_json(file, {name: np.asarray(value).tolist() for name, value in found.items()})
    return {name: jnp.asarray(value) for name, value in json.loads(file.read_text(encoding="utf-8")).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--skies", type=int, default=10, help="of each truth")
    parser.add_argument("--truths", nargs="+", choices=TRUTHS, default=list(TRUTHS))
    parser.add_argument("--fits", nargs="+", choices=FITS, default=list(FITS))
    parser.add_argument("--method", default="auto", help="of the fits")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    configure()
    options.out.mkdir(parents=True, exist_ok=True)
    dataset, log = Dataset.open("fermi"), options.out / "fits.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["truth"], row["sky"], row["fit"]) for row in rows}
    models: dict[str, SkyModel] = {}  # kept with their compiled programs
    for truth in options.truths:
        wanted = [(sky, name) for sky in range(options.skies) for name in options.fits]
        wanted = [one for one in wanted if (truth, *one) not in done]
        if not wanted:
            continue
        true = built(*TRUTHS[truth], dataset)
        theta = best_fit(true, options.out / f"truth_{truth}.json", options.seed)
        simulator, excess = PhotonSimulator(true), excess_map(true, theta)
        for sky, name in wanted:
            counts = simulator.draw(theta, seed=options.seed, first=sky)[0]
            if name not in models:
                models[name] = fitted_model(name, dataset)
            assert np.array_equal(models[name].pixels.pixel, true.pixels.pixel), "other pixels"
            row = {"truth": truth, "sky": sky, "fit": name}
            row |= measured(
                models[name].with_counts(counts[: true.pixels.n_fit]),
                Settings(method=options.method, seed=options.seed + sky), float(theta["S_gce"]), excess,
            )  # fmt: skip
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            rows.append(row)
            print(json.dumps(row), flush=True)
    print(table(rows))


def excess_map(model: SkyModel, theta: Parameters) -> NDArray[np.float64]:
    """Expected counts of the smooth excess in the pixels of the region."""
    found = model.expectation.counts(model.sky(theta), model.arrays["sky"])[GROUP]
    return np.asarray(found)[: model.pixels.n_region]


def measured(model: SkyModel, settings: Settings, flux: float, excess: NDArray[np.float64]) -> dict[str, Any]:
    """What is kept of a fit: the excess beside what the sky was made of."""
    began = time.perf_counter()
    found = fit(model, settings, quiet=True)
    of_excess = [component.group == GROUP for component in model.spec.components]
    fluxes = found.derived[FLUX][:, of_excess].sum(axis=1)
    maps = predicted_maps(model, found.z[spread(len(found.z), MAP_DRAWS)])
    mean_map = sum(maps[c.name] for c in model.spec.components if c.group == GROUP)[: len(excess)]
    shares = mean_map / mean_map.sum() - excess / excess.sum()
    mean, sd = float(fluxes.mean()), float(fluxes.std())
    return {
        "flux": flux,
        "mean": round(mean, 5),
        "sd": round(sd, 5),
        "pull": round((mean - flux) / sd, 3),
        "fraction": np.quantile(found.derived[POINT_SOURCE_FRACTION][:, 0], QUANTILES).round(5).tolist(),
        "misplaced": round(float(0.5 * np.abs(shares).sum()), 5),
        "field_sd": found.derived[FIELD_SD].mean(axis=0).round(4).tolist() if FIELD_SD in found.derived else [],
        **{name: found.diagnostics[name] for name in ("log_z", "gradients") if name in found.diagnostics},
        "verdict": found.verdict.level,
        "seconds": round(time.perf_counter() - began, 1),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """For every truth and fit: how many skies, how often the flux and the fraction are right, and means."""
    lines = ["| truth | fit | skies | reliable | flux within 2 sd | fraction below 0.2 at 95 % | pull | misplaced |",
             "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for truth, name in dict.fromkeys((row["truth"], row["fit"]) for row in rows):
        of = [row for row in rows if (row["truth"], row["fit"]) == (truth, name)]
        right = sum(abs(row["pull"]) < LARGEST_PULL for row in of)
        low = sum(row["fraction"][-1] < LARGEST_FRACTION for row in of)
        reliable = sum(row["verdict"] == "reliable" for row in of)
        pull, misplaced = (np.mean([row[key] for row in of]) for key in ("pull", "misplaced"))
        lines.append(f"| {truth} | {name} | {len(of)} | {reliable} | {right} | {low} | {pull:+.2f} | {misplaced:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
