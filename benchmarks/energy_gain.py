"""What the joint likelihood of four energy bins gains, and what its one approximation costs, on simulated skies.

    python benchmarks/energy_gain.py OUT [--skies 50] [--seed 0] [--part 1/2]

The inner 12 deg on the grid, exposure and gas map of the dataset `fermi`, with the point-spread function of each of
four bins from the instrument's response. Truths come from the priors. In half of the skies the point sources of the
excess have the spectrum of pulsars and its smooth part that of dark matter; in the others it is the reverse. Each sky
is drawn twice, from the likelihood's own distribution and as photons on the sphere, each with the point-spread function
of its bin, and fitted in three ways:

    joint          all bins together, exactly
    one bin        their sum, with the mean point-spread function
    composite      the sum of the log-likelihoods of single bins, as if no source were seen in two of them, with the
                   same dN/dF and spectra: what can be had without a joint likelihood (not on skies of photons)

One line of JSON for each fit in OUT/fits_*.jsonl, which a second call goes on with; two calls with `--part 1/2` and
`2/2` share the work (and compile half of the programs each). `docs/make_energy.py --gain OUT` makes the table.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from astropy.io import fits

from gammasky import Dataset, Settings, SkyModel, configure, fit
from gammasky.engine.files import write_text
from gammasky.engine.infer.derived import POINT_SOURCE_FRACTION
from gammasky.engine.kernels.nptf_energy.op import total_joint_log_likelihood
from gammasky.engine.kernels.nptf_energy.plan import JointPlan
from gammasky.engine.kernels.response.op import expected_sources
from gammasky.engine.model.simulate import build_simulator
from gammasky.engine.model.spec import ModelSpec, model_from_table
from gammasky.engine.model.terms import JointNptfTerm
from gammasky.engine.model.terms.shifted_grid import ShiftedGrid
from gammasky.engine.sky.irf import king_psf
from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.pixel_fractions import pixel_fractions
from gammasky.engine.sky.psf import IRFSettings
from gammasky.engine.sky.response import Response

EDGES_GEV = (2.0, 3.2, 5.5, 10.0, 20.0)
RESPONSE = "psf/psf_P8R3_ULTRACLEANVETO_V3_PSF.fits"  # a file of the dataset `fermi`
GROUP = "gce"
QUANTILES = (0.025, 0.05, 0.16, 0.25, 0.5, 0.75, 0.84, 0.95, 0.975)
LEAST_SHARE = 1e-3  # of a source's photons in one bin, that the composite's grid is made for

PULSARS = {"cutoff_power_law": {"index": "index_psr", "cutoff_gev": "cutoff_psr"}}
# photons of annihilation into b quarks: dN/dx ~ x^-1.5 exp(-7.8 x), x = E / mass (Bergstrom et al. 1998,
# astro-ph/9712318): here for masses of 20 to 150 GeV
DARK_MATTER = {"cutoff_power_law": {"index": 1.5, "cutoff_gev": "cutoff_dm"}}
SCENARIOS = {"pulsars are the sources": (PULSARS, DARK_MATTER), "pulsars are smooth": (DARK_MATTER, PULSARS)}


def model_of(sources: dict[str, Any], smooth: dict[str, Any]) -> ModelSpec:
    """Gas, a smooth excess and one of point sources, with these spectra: ten parameters."""
    profile = {"nfw": {"gamma": 1.1}}
    uniform = {"prior": "uniform"}
    table = {
        "name": "energy_gain",
        "region": {"latitude_min": 2.0, "radius_max": 12.0, "exposure_regions": 3},
        "source_grid": {"flux_min": 5e-12, "flux_max": 5e-9, "nodes": 300},
        "parameters": {
            "S_dif": uniform | {"low": 2.0, "high": 12.0, "unit": "counts/pixel"},
            "S_gce": uniform | {"low": 1e-2, "high": 4.0, "unit": "counts/pixel"},
            "Sps_gce": uniform | {"low": 1e-2, "high": 4.0, "unit": "counts/pixel"},
            "index_dif": uniform | {"low": 2.3, "high": 2.8},
            "index_psr": uniform | {"low": 0.8, "high": 1.8},
            "cutoff_psr": {"prior": "loguniform", "low": 1.5, "high": 5.0, "unit": "GeV"},
            "cutoff_dm": {"prior": "loguniform", "low": 2.6, "high": 19.0, "unit": "GeV"},
            "n1": uniform | {"low": 2.5, "high": 6.0},
            "n2": uniform | {"low": -1.0, "high": 1.9},
            "Fb": uniform | {"low": 2.5e-10, "high": 2e-9, "unit": "cm^-2 s^-1"},
        },
        "components": [
            {
                "name": "dif",
                "norm": "S_dif",
                "template": {"mix": ["Opi", "Oic"], "fractions": [0.6, 0.4]},
                "spectrum": {"power_law": {"index": "index_dif"}},
            },
            {"name": "gce", "group": GROUP, "norm": "S_gce", "template": profile, "spectrum": smooth},
            {
                "name": "gce_ps",
                "group": GROUP,
                "norm": "Sps_gce",
                "template": profile,
                "spectrum": sources,
                "source_counts": {"slopes": ["n1", "n2"], "breaks": ["Fb"]},
            },
        ],
    }
    return model_from_table(table, "energy_gain")


def write_dataset(folder: Path, n_bins: int) -> Dataset:
    """The pixels, exposure and gas maps of `fermi` with simulated counts to come, in four energy bins or in one."""
    manifest = folder / "dataset.toml"
    fermi = Dataset.open("fermi")
    if not manifest.exists():
        folder.mkdir(parents=True, exist_ok=True)
        edges = EDGES_GEV if n_bins > 1 else (EDGES_GEV[0], EDGES_GEV[-1])
        n_pixels = 12 * 128**2
        _, exposure = np.broadcast_arrays(np.zeros((n_bins, 1)), np.load(fermi.folder / fermi.manifest.exposure.file))
        np.save(folder / "counts.npy", np.ones((n_bins, n_pixels)))
        np.save(folder / "exposure.npy", exposure)
        write_psf(folder / "psf.fits", fermi)
        maps = {name: fermi.folder.absolute() / fermi.manifest.template_file(name) for name in ("Opi", "Oic")}
        templates = [f'{name} = {{ file = "{file}", unit = "counts" }}' for name, file in maps.items()]
        lines = [
            f'name = "energy_gain_{n_bins}"',
            f"energy_edges_gev = {list(edges)}",
            'counts = { file = "counts.npy", unit = "counts" }',
            'exposure = { file = "exposure.npy", unit = "cm2 s" }',
            # one bin: weighted as the photons are that come in, falling a little more slowly than the gas
            'psf = { kind = "file", file = "psf.fits", spectral_index = 2.4 }',
            "[templates]",
            *templates,
        ]
        write_text(manifest, "\n".join(lines) + "\n")
    return Dataset.open(folder)


def write_psf(path: Path, fermi: Dataset) -> None:
    """A table of the point-spread function by energy, in the format of the mission's gtpsf."""
    content = (fermi.folder / RESPONSE).read_bytes()
    energies = np.geomspace(EDGES_GEV[0], EDGES_GEV[-1], 25)
    radius_deg = np.concatenate([[0.0], np.geomspace(1e-3, 60.0, 500)])
    kings = [king_psf(content, RESPONSE, IRFSettings(kind="irf", file=RESPONSE, energy_gev=e)) for e in energies]
    density = np.stack([king.density(np.deg2rad(radius_deg)) for king in kings])
    columns = [
        fits.Column("Energy", "D", "MeV", array=1e3 * energies),
        fits.Column("Exposure", "D", "cm^2 s", array=np.ones(len(energies))),
        fits.Column("Psf", f"{len(radius_deg)}D", "sr^-1", array=density),
    ]
    angles = [fits.Column("Theta", "D", "deg", array=radius_deg)]
    tables = [fits.BinTableHDU.from_columns(of, name=name) for name, of in (("PSF", columns), ("THETA", angles))]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path, overwrite=True)


class CompositeTerm(JointNptfTerm):
    """The sum over energy bins of the one-bin log-likelihood, each bin with its own exposure and PSF."""

    def _look_at(self, counts: np.ndarray, *more: np.ndarray) -> None:
        super()._look_at(counts, *more)
        rows = self._by_bin(counts)
        self._bins = ShiftedGrid.build(
            self._grid.flux, self._grid.exposure, LEAST_SHARE * float(self._exposure.min()), float(self._exposure.max())
        )
        self.arrays |= {
            "plans": tuple(
                jax.tree.map(jnp.asarray, JointPlan.build(row[None], self.region, self.n_regions)) for row in rows
            ),
            "response": tuple(
                jnp.asarray(self._matrix_of(number, max(int(row.max()), 1))) for number, row in enumerate(rows)
            ),
        }

    def _matrix_of(self, number: int, max_count: int) -> np.ndarray:
        """K_m(S_j) (M + 1, S') of one bin, up to a power of two, so that few programs serve all skies."""
        fractions = pixel_fractions(self.pixels.psf[number], self.pixels.grid)
        size = 1 << max_count.bit_length()
        response = Response.build(self._bins.nodes, fractions.fraction, fractions.weight, [1.0], size)
        return np.asarray(response.matrix[0] / response.quadrature)

    def log_density(self, sky: Any, theta: Any, arrays: Any) -> jax.Array:
        del theta
        size, dndf = self.pixels.n_fit, self.expectation.source_functions(sky)
        shares = sky.shares[self.expectation.populations.components[0].name]
        mean = self.expectation.smooth_mean(sky, size).reshape(self.n_bins, -1)
        templates = self.expectation.source_templates(sky, size)
        total = jnp.zeros(())
        for number, (plan, matrix) in enumerate(zip(arrays["plans"], arrays["response"], strict=True)):
            seen = shares[number] * arrays["exposure"][:, number]
            sources = self._bins.sources(dndf, seen)
            x = expected_sources(matrix, sources.reshape(-1, sources.shape[-1]), backend=self.backend)
            x = x.reshape(*sources.shape[:2], -1)
            whole = jnp.ones((self.n_regions, 1))
            total += total_joint_log_likelihood(plan, mean[number][None], templates, x, whole, backend=self.backend)
        return total


def composite(model: SkyModel) -> SkyModel:
    """The model with the composite likelihood in place of the joint one."""
    other = SkyModel(model.spec, model.dataset)
    other.counts_term = CompositeTerm(other.expectation, other.backend)
    other.arrays = {**other.arrays, "counts": other.counts_term.arrays}
    return other


def one_bin_counts(four: Observation, one: Observation, counts: np.ndarray) -> np.ndarray:
    """Counts (P,) of the sum of the bins, pixel by pixel of the one-bin observation."""
    summed = counts.reshape(four.n_energy, -1).sum(axis=0)
    assert np.array_equal(four.pixel[: len(summed)], one.pixel[: len(summed)]), "other pixels"
    return summed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--skies", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="1/1", help="1/2: every second sky, beginning with the first")
    options = parser.parse_args()
    part, parts = (int(number) for number in options.part.split("/"))
    configure()
    four, one = (write_dataset(options.out / name, n) for name, n in (("four_bins", 4), ("one_bin", 1)))
    log = options.out / f"fits_{part}_of_{parts}.jsonl"
    done = {
        (row["sky"], row["simulator"], row["fit"])
        for file in options.out.glob("fits_*.jsonl")
        for row in map(json.loads, file.read_text().splitlines())
    }
    models: dict[str, dict[str, SkyModel]] = {}  # kept with their compiled programs
    for number in range(part - 1, options.skies, parts):
        name = list(SCENARIOS)[number % 2]
        if name not in models:
            spec = model_of(*SCENARIOS[name])
            joint = SkyModel(spec, four)
            models[name] = {"joint": joint, "one bin": SkyModel(spec, one), "composite": composite(joint)}
        joint, single, _ = models[name].values()
        z = np.random.default_rng([options.seed, number]).standard_normal(joint.n_latent)
        theta = joint.parameters(jnp.asarray(z))
        truth = float(joint.expectation.point_source_fractions(joint.sky(theta))[GROUP])
        for simulator in ("likelihood", "photons"):
            wanted = [label for label in models[name] if simulator == "likelihood" or label != "composite"]
            left = [label for label in wanted if (number, simulator, label) not in done]
            if not left:
                continue
            counts = build_simulator(simulator, joint).draw(theta, seed=options.seed, first=number)[0]
            for label in left:
                seen = one_bin_counts(joint.pixels, single.pixels, counts) if label == "one bin" else counts
                row = {"sky": number, "scenario": name, "simulator": simulator, "fit": label, "truth": truth}
                row |= fitted(models[name][label].with_counts(seen), options.seed + number, truth)
                with log.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(*row.values(), flush=True)


def fitted(model: SkyModel, seed: int, truth: float) -> dict[str, Any]:
    """What is kept of a fit: the posterior of the point-source fraction beside its truth."""
    began = time.perf_counter()
    found = fit(model, Settings(seed=seed), quiet=True)
    fraction = np.asarray(found.derived[POINT_SOURCE_FRACTION]).ravel()
    return {
        "quantiles": np.quantile(fraction, QUANTILES).round(5).tolist(),
        "mean": float(fraction.mean()),
        "sd": float(fraction.std()),
        "below": float((fraction < truth).mean()),
        "verdict": found.verdict.level,
        "gradients": int(found.diagnostics["gradients"]),
        "seconds": round(time.perf_counter() - began, 1),
    }


if __name__ == "__main__":
    main()
