"""docs/tests.md, from the folders of `gammasky test` and `gammasky profile`, and the models that some of them need.

    python docs/make_tests.py --models models      # writes north_south.toml and free_bar.toml there
    gammasky test fiducial --data fermi --null "Sps_gce = 0" --out tests/point_sources      # and the others of TESTS
    python docs/make_tests.py tests --uniform nested.json     # of `python benchmarks/nested.py --out nested.json`

Keeps the numbers of what it finds in docs/tests_numbers.json, and writes the page from all that is there then: what was
not run again keeps its numbers. No number of the page is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kstest

HERE = Path(__file__).parent
PAGE, NUMBERS, FIGURES = HERE / "tests.md", HERE / "tests_numbers.json", HERE / "figures"

TEXT = """# Tests of nested models, and limits

Written by `docs/make_tests.py` from the tests themselves. Does the sky need point sources, or a bulge? A likelihood ratio
answers that, if its distribution without them is known. Here it is simulated.

    gammasky test fiducial --data fermi --null "Sps_gce = 0" --skies 200 --out tests/point_sources
    gammasky test my_model.toml --data my_sky/ --null "without gce_ps" --null "gamma_poiss = 1" --simulator photons --out DIR
    gammasky test fiducial --data fermi --null "f_bulge_ps = f_bulge_poiss" --evidence --out DIR      # the Bayes factor, too

A null sets a parameter to a value within the support of its prior (`"gamma = 1"`, `"theta_pib = [0.5, 0.3, 0.2]"`), sets
two parameters equal (`"f_bulge_ps = f_bulge_poiss"`), or takes a component away (`"without gce_ps"`, which is the same as
to set its norm to 0); several conditions hold together. From Python:

```python
import gammasky

test = gammasky.NestedTest("fiducial", null="Sps_gce = 0", skies=200)
result = test.run("tests/point_sources")  # the same call goes on after an interruption
result.ts, result.p.value, result.table(), result.plot()
```

## What is computed

- **TS = 2 (ln L of the model - ln L of the null)**, both at their maxima, each the highest of climbs from several starts, all
  of which evaluate one compiled program. It is the *likelihood* that is maximised, within the supports of the priors, not
  the posterior. Priors of norms often begin above 0, at 1e-5 say: a norm that the null sets to 0 may be as small as 0 in
  the model, too, so that the null is part of the model and TS is never negative. A TS below 0.001, which is what two
  climbs may differ by, counts as 0.
- **Its distribution** is that of skies drawn from the fitted null, each treated as the observed one: climbed from as many
  starts, one of which is what the sky is drawn from. Where more climbs find the model's maximum of the observed sky higher
  up, the report says by how much, and does not count it. So the distribution contains what the theorem of Wilks leaves
  out: a norm of 0 lies at the end of its support, and slopes, breaks and shapes of a component that is not there, or of a
  part of a mixture whose share is 0, mean nothing (Protassov et al., astro-ph/0201547). Chi-square with as many degrees
  as the null fixes numbers is shown for comparison only.
- **p = (k + 1) / (n + 1)** if k of n skies have a TS at least as large, with the 68 % interval of the binomial distribution. `n`
  skies can give no p below 1 / (n + 1): `--p 0.001` refuses to start with too few. `--skies` may grow.
- `--simulator likelihood` draws each pixel on its own, as the likelihood has them: p is then exact but for the fitted null
  standing for the true one. `--simulator photons` puts sources on the sphere and scatters photons by the PSF: neighbouring
  pixels share sources, which the likelihood neglects, and p contains what that does ([calibration](calibration.md)).
- The report lists both maxima, and says which numbers lie at an end of their priors: there another prior would move TS.
- `--evidence` puts the Bayes factor beside it, from two fits by the emulator ([inference](inference.md)). It answers another
  question, and depends on the widths of the priors of what the null fixes.

## Is p uniform under the null?

200 simulated tests of `S_gce = 0` in the preset `calibration` (6 parameters), all of one true point, with one simulated
distribution for all of them (`python benchmarks/nested.py`). Where the best norm is 0, TS is 0 and p is 1: among such
ties the rank is taken at random, so that p can be uniform at all; with ties counted in full, as `gammasky test` does, p
is never too small.

@UNIFORM@

## Profiles and limits

    gammasky profile fiducial --data fermi --of S_gce --out DIR                             # also flux[gce]
    gammasky profile fiducial --data fermi --of "point_source_fraction[gce]" --out DIR
    gammasky profile my_model.toml --data my_sky/ --of S_gce --limit 0.95 --skies 200 --out DIR

The profile is the highest likelihood for each value of a number. A parameter is held at each value; a flux or a
point-source fraction is drawn there by a penalty, and each point is exact for the value that it reaches. Intervals by the
fall of the profile use chi-square with one degree; each end is the outermost one, so that of two maxima both are inside.
With `--skies`, skies are drawn at nine values of a parameter, from the fit at each: at equal steps of the root of TS from
one end of the profile to the other, of which the first is 0 for a norm. The interval of Feldman and Cousins
(physics/9711021), with all other parameters profiled, is where the observed TS is at most the quantile of its own skies;
the CLs limit (Read 2002) is where the probability of as small a signal is 5 % of what it is without any; expected limits
are the CLs limits of the skies without a signal. The observed TS of these is found by as many climbs as that of a
simulated sky; where the profile, which has more, has found a higher maximum, the report says by how much. It also names
all numbers that lie at an end of their priors at the maximum.

`gammasky simulate --asimov` writes the expected counts of a model as a data set, fractions and all (arXiv:1007.1727): its
profile is the median expectation. Only models without point sources have such data. What the likelihood of point sources
reads is how photons come together, and a map of mean counts has lost that: it would look smoother than any sky. For such
models expected limits come from `--skies`.

How strong must a signal be before the test finds it? `gammasky study sensitivity` puts signals of several strengths into
skies of the fitted null, and tests each ([studies](studies/README.md#how-strong-a-signal-must-be)).

## The Fermi-LAT data

573 weeks, 2-20 GeV, the `fiducial` model unless another is named; the models of the split and of the bar are written by
`python docs/make_tests.py --models models`.

@TESTS@

@PROFILES@

The survival function of the first test shows why its distribution is simulated: skies of the null reach much further than
chi-square with the one degree of `Sps_gce`, because nine shapes of the component come into being with it. For the
bulge it is the other way round: both shares end at 0, where many skies of the null have their maximum, too.

How far to trust it: TS compares the best points of two models, however small their share of the posterior, and both lie
at the ends of many priors here (`test.md` in each folder names them). Skies by the simulator `likelihood` know nothing of
errors in the diffuse emission: a small p says that the null *with these templates* does not make such skies, and
[studies](studies/README.md) of mismodelled skies say how easily wrong templates are taken for point sources. North and south
show it: where the gas map may follow a field of l <= 4, [the split is gone](studies/fields.md#north-and-south).

These skies were climbed before the parameters of a part of a mixture whose share is 0 were drawn anew for every climb. That
was so for the data and for the skies alike, so p holds; the statistics of the nulls with a share (bulge, its sources, the
bar) may come out higher by some tenths.
"""  # noqa: E501

ENOUGH = 20  # skies that a p-value is quoted of
#: Folder of a test: what is asked, the model, and the null.
TESTS = {
    "point_sources": ("point sources in the excess", "fiducial", ["Sps_gce = 0"]),
    "bulge": ("a bulge in the excess", "fiducial", ["f_bulge_poiss = 0", "f_bulge_ps = 0"]),
    "bulge_sources": ("point sources with the shape of the bulge", "fiducial", ["f_bulge_ps = 0"]),
    "north_south": (
        "north and south of the excess differ",
        "models/north_south.toml",
        ["S_gce = S_gce_south", "Sps_gce = Sps_gce_south"],
    ),
    "free_bar": ("a free bar beside the bulge maps", "models/free_bar.toml", ["f_maps_poiss = 1", "f_maps_ps = 1"]),
}
PROFILES = {"smooth": ("the smooth excess", "fiducial", "S_gce")}

MAPS = ["macias2019", "coleman2019", "f98"]
BAR = {name: f"bar_{name}" for name in ("angle", "length", "ratio_y", "ratio_z", "c_perp", "c_par", "cut_radius")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="Of the tests, each in a folder of its name in TESTS.")
    parser.add_argument("--models", type=Path, metavar="DIR", help="Write the models of TESTS there, and nothing else.")
    parser.add_argument("--uniform", type=Path, metavar="FILE", help="What benchmarks/nested.py has written.")
    asked = parser.parse_args()
    if asked.models is not None:
        _write_models(asked.models)
        return
    found = json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.is_file() else {}
    if asked.folder is not None:
        found |= _read(asked.folder)
    if asked.uniform is not None:
        found["uniform"] = _uniform(json.loads(asked.uniform.read_text(encoding="utf-8")))
    NUMBERS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    text = TEXT
    for place, lines in {"TESTS": _tests(found), "PROFILES": _profiles(found), "UNIFORM": _table(found)}.items():
        text = text.replace(f"@{place}@", "\n".join(lines))
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE}: {', '.join(found)}")


def _read(folder: Path) -> dict[str, Any]:
    """The numbers of every test and profile that is there, and their figures."""
    found: dict[str, Any] = {}
    for names, file, figure in ((TESTS, "test.json", "survival"), (PROFILES, "profile.json", "profile")):
        for name in names:
            if not (folder / name / file).is_file():
                continue
            found[name] = json.loads((folder / name / file).read_text(encoding="utf-8")) | {"model": names[name][1]}
            if file == "profile.json" or found[name]["skies"] >= ENOUGH:
                FIGURES.mkdir(exist_ok=True)
                shutil.copy(folder / name / f"{figure}.png", FIGURES / f"test_{name}.png")
    return found


def _tests(found: dict[str, Any]) -> list[str]:
    """A line for each test."""
    lines = ["| the model has, the null has not | TS | skies | as large | p | sigma | chi-square | ln B |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, (asks, _, _) in TESTS.items():
        one = found.get(name)
        if one is None:
            lines.append(f"| {asks} | not run | | | | | | |")
            continue
        factor = one["bayes_factor"]
        p = f"{one['p']:.2g}" + ("" if one["exceeding"] else " (the smallest of so many)")
        enough = one["skies"] >= ENOUGH
        lines.append(
            f"| {asks} | {one['ts']:.1f} | {one['skies']} | {one['exceeding']} | {p if enough else 'too few skies'} | "
            f"{format(one['sigma'], '.1f') if enough and one['exceeding'] else ''} | {one['p_chi_square']:.1g} | "
            f"{'' if factor is None else format(factor['ln'], '+.1f')} |"
        )
    lines += ["", "The commands:", ""]
    for name, (_, model, null) in TESTS.items():
        conditions = " ".join(f'--null "{condition}"' for condition in null)
        lines.append(f"    gammasky test {model} --data fermi {conditions} --out tests/{name}")
    for name, (asks, _, _) in TESTS.items():
        if name in found and found[name]["skies"] >= ENOUGH:
            lines += ["", f"![{asks}](figures/test_{name}.png)"]
    return lines


def _profiles(found: dict[str, Any]) -> list[str]:
    """What each profile says."""
    lines = []
    for name, (what, model, number) in PROFILES.items():
        lines += [f"    gammasky profile {model} --data fermi --of {number} --skies 100 --out tests/{name}", ""]
        one = found.get(name)
        if one is None:
            lines.append(f"The profile of {what} was not run.")
            continue
        ends = ["none" if end is None else f"{end:.2f}" for end in (*one["interval_68"], *one["interval_95"])]
        unit, upper = one["unit"], one["upper_limit"]
        limits = one["limits"]
        told = f"{what.capitalize()}: best value {one['best']:.2f} {unit}; by the fall of the profile 68 % "
        told += f"{ends[0]} to {ends[1]}, 95 % {ends[2]} to {ends[3]}"
        told += "" if upper is None else f", one-sided upper limit {upper:.2f}"
        if limits is not None:
            told += f"; CLs upper limit {limits['cls_upper']}, expected {limits['expected_cls_upper']['median']}"
        else:
            told += "; without simulated skies"
        lines += [f"{told}.", "", f"![{what}](figures/test_{name}.png)"]
    return lines


def _uniform(content: dict[str, Any]) -> dict[str, Any]:
    """For each way to a p-value: the KS p of uniformity, and how often p is at most a level."""
    return {
        name: {
            "tests": len(p),
            "ks": float(kstest(p, "uniform").pvalue),
            "shares": [float(np.mean(np.array(p) <= level)) for level in (0.01, 0.05, 0.1, 0.25)],
        }
        for name, p in content["p"].items()
    } | {"skies": len(content["simulated"]), "none": float(np.mean(np.array(content["observed"]) == 0))}


def _table(found: dict[str, Any]) -> list[str]:
    """The table of uniformity."""
    one = found.get("uniform")
    if one is None:
        return ["Not measured yet."]
    lines = [
        f"TS is 0 in {100 * one['none']:.0f} % of the tests; the null's distribution is of {one['skies']} skies.",
        "",
        "| p-values from | tests | KS p of uniformity | p <= 0.01 | p <= 0.05 | p <= 0.1 | p <= 0.25 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in one.items():
        if isinstance(row, dict):
            shares = " | ".join(f"{share:.3f}" for share in row["shares"])
            lines.append(f"| {name} | {row['tests']} | {row['ks']:.2g} | {shares} |")
    return lines


def _write_models(folder: Path) -> None:
    """The fiducial model with its excess split at the plane, and with a free bar beside the bulge maps."""
    from gammasky.analyses.ensemble.patch import patched
    from gammasky.analyses.studies.study import read_study
    from gammasky.engine.infer.report.model_toml import model_toml
    from gammasky.engine.model.spec import model_from_table, read_model

    fiducial = read_model("fiducial").model_dump(mode="json", exclude_none=True)
    study = (read_study("hemispheres").ensemble or {})["axes"]["split"]["both"]
    priors = (read_study("morphology").ensemble or {})["axes"]["shape"]["free_bar"]
    bar = {key: value for key, value in priors.items() if key.startswith("parameters.")}
    for kind in ("poiss", "ps"):
        maps = {"mix": MAPS, "fractions": f"theta_bulge_{kind}"}
        bulge = {"mix": [maps, {"bar": BAR}], "fractions": f"f_maps_{kind}"}
        nfw = {"nfw": {"gamma": f"gamma_{kind}"}}
        component = "gce" if kind == "poiss" else "gce_ps"
        bar[f"components.{component}.template"] = {"mix": [bulge, nfw], "fractions": f"f_bulge_{kind}"}
        bar[f"parameters.f_maps_{kind}"] = {"prior": "uniform", "low": 0.0, "high": 1.0}
    folder.mkdir(parents=True, exist_ok=True)
    for name, changes in {"north_south": study, "free_bar": bar}.items():
        table = {**patched(fiducial, changes, name), "name": f"fiducial_{name}"}
        (folder / f"{name}.toml").write_text(model_toml(model_from_table(table, name)), encoding="utf-8")
        print(folder / f"{name}.toml")


if __name__ == "__main__":
    main()
