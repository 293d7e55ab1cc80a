"""The file of a study: what it asks, whom it follows, the ensemble that answers it, and how it runs quickly."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PrivateAttr, model_validator

from gammasky.analyses.ensemble.file import NAME, FitTable, beside
from gammasky.analyses.ensemble.tables import Table
from gammasky.engine.errors import InputError
from gammasky.engine.files import named_file, read_toml, shipped_files
from gammasky.engine.infer.settings import Settings
from gammasky.engine.sky.schema import Schema, validated

#: A quick run is of the demo sky, within 10 deg, of one diffuse model, with Laplace approximations; a study's own
#: [quick] goes on top.
QUICK: Table = {"ensemble": {"data": "demo", "fit": {"method": "laplace"}}}
QUICK_REGION = {"radius_max": 10.0, "exposure_regions": 1}
QUICK_NODES = 100  # of the source grid
QUICK_DIFFUSE = "O"


class SmoothSkies(Schema):
    """Skies without point sources: each truth is a model that was changed, at its best fit to the data.

    Args:
        kind: the word for this kind of skies.
        truths: name -> changes of the model, as an axis of the user's own has them; `diffuse` and `l_max` as the axes.
        number: skies of each truth.
        seed: seed of the skies, and of the starts of the best fits.
    """

    kind: Literal["smooth"]
    truths: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    number: Annotated[int, Field(ge=1)] = 10
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _with_names_of_folders(self) -> SmoothSkies:
        for name in self.truths:
            if not NAME.fullmatch(name):
                raise ValueError(f"truth {name!r:.60}: expected a name of letters, digits and _ . - only; rename it")
        return self


class InjectedSkies(Schema):
    """The counts of the data plus photons of a smooth NFW^2 signal.

    Args:
        kind: the word for this kind of skies.
        strengths [counts per pixel]: mean of the signal over the region of interest.
        gamma: inner slope of the signal.
        number: skies of each strength; seed: seed of the photons.
    """

    kind: Literal["injected"]
    strengths: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2)]
    gamma: float = 1.2
    number: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _with_the_data_alone(self) -> InjectedSkies:
        names = {f"{strength:g}" for strength in self.strengths}  # of their folders
        if 0.0 not in self.strengths or len(names) < len(self.strengths):
            raise ValueError("strengths: expected 0 (the data alone, to compare with) and others, six digits apart")
        return self


class Simulations(Schema):
    """A calibration: what `Calibration` takes, in several scenarios.

    Args:
        model: a preset's name, or a file.
        data: dataset: a name, or a folder or manifest; data_dir: folder of its files.
        scenarios: how skies are drawn, one calibration for each.
        skies: how many are simulated and fitted in each scenario.
        fit: settings of the fits.
        reweight: whether the draws of every fit are reweighted by importance.
        posterior: file of a posterior from which true parameters are drawn; the prior where there is none.
        seed: seed of the skies and the fits.
    """

    model: str = "calibration"
    data: str = "demo"
    data_dir: str | None = None
    scenarios: Annotated[tuple[str, ...], Field(min_length=1)] = ("likelihood",)
    skies: Annotated[int, Field(ge=2)] = 32
    fit: FitTable = Settings()
    reweight: bool = False
    posterior: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0


class Sensitivity(Schema):
    """How strong a signal must be to be found: skies of the fitted null with a signal, against skies of the null alone.

    Args:
        model: a preset's name, or a file.
        data: dataset that the null is fitted to: a name, or a folder or manifest; data_dir: folder of its files.
        null: the condition without the signal: one number that is set to a value, such as "S_gce = 0", or
            "without gce".
        strengths: values of that number with a signal, rising, in its own unit.
        shape: values of parameters that mean nothing under the null, by name; those left out are at the medians of
            their priors.
        skies: of each strength.
        null_skies: of the null, which the p-value of every sky is found from.
        sigmas: one-sided significances at which a signal counts as found, in standard deviations.
        simulator: "likelihood" (each pixel on its own) or "photons" (sources on the sphere, PSF).
        seed: seed of the skies and the climbs.
    """

    model: str = "fiducial"
    data: str = "fermi"
    data_dir: str | None = None
    null: str
    strengths: Annotated[list[float], Field(min_length=1)]
    shape: dict[str, float | list[float]] = Field(default_factory=dict)
    skies: Annotated[int, Field(ge=1)] = 50
    null_skies: Annotated[int, Field(ge=1)] = 1500
    sigmas: Annotated[tuple[Annotated[float, Field(gt=0, le=5)], ...], Field(min_length=1)] = (2.0, 3.0)
    simulator: str = "likelihood"
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _rising(self) -> Sensitivity:
        for name, values in {"strengths": self.strengths, "sigmas": self.sigmas}.items():
            if any(low >= high for low, high in pairwise(values)):
                raise ValueError(f"{name}: expected numbers, each above the one before, got {list(values)}")
        return self


class Published(Schema):
    """A number of the paper.

    Args:
        value: the number, as text.
        place: where it stands in the paper.
    """

    value: str
    place: str


class Study(Schema):
    """A study.

    Args:
        name: name of the study, that of its file.
        asks: the question; follows: papers; cost: what the whole study takes, in words.
        ensemble: what an ensemble's file holds; skies: skies that are made first, and become its axis `sky`.
        calibration: a calibration instead of an ensemble; sensitivity: how strong a signal must be, instead of both.
        power_scaling: whether the report has the sensitivities to priors and likelihood.
        source_counts: whether it has the figure of dN/dS and dN/dF of all members.
        compared: parameters and quantities that it sets beside the paper's; published: those numbers of the paper that
            are known, by the same names.
        quick: what a quick run changes, tables within tables.
    """

    name: str
    asks: str
    follows: list[str] = Field(default_factory=list)
    cost: str
    ensemble: Table | None = None
    skies: Annotated[SmoothSkies | InjectedSkies, Discriminator("kind")] | None = None
    calibration: Simulations | None = None
    sensitivity: Sensitivity | None = None
    power_scaling: bool = False
    source_counts: bool = False
    compared: list[str] = Field(default_factory=list)
    published: dict[str, Published] = Field(default_factory=dict)
    quick: Table = Field(default_factory=dict)
    _place: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def place(self) -> Path:
        """The folder that its files are named from."""
        return self._place

    @model_validator(mode="after")
    def _one_kind(self) -> Study:
        kinds = [kind for kind in ("ensemble", "calibration", "sensitivity") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError("a study is one of these: an ensemble, a calibration or a sensitivity")
        if self.skies is None:
            return self
        if self.ensemble is None:
            raise ValueError(f"skies: a {kinds[0]} makes its own; remove the table")
        if "sky" in (self.ensemble.get("axes") or {}):
            raise ValueError("skies: they become the axis `sky`, which the ensemble has already; remove one of both")
        if self.power_scaling or self.source_counts or self.compared:
            raise ValueError("skies: power_scaling, source_counts and compared are of studies that make none")
        return self


def studies() -> dict[str, Path]:
    """The studies that come with the package: name -> TOML file."""
    return shipped_files("gammasky.analyses", "studies")


def read_study(
    name: str,
    *,
    quick: bool = False,
    data: str | None = None,
    data_dir: str | None = None,
    n_skies: int | None = None,
) -> Study:
    """A study, as it is or as it runs quickly, on its own data or on others.

    Args:
        name: of a study that comes with the package, or the path of a TOML file of one's own.
        quick: whether it is cut down as its file says.
        data, data_dir: take the place of the study's own.
        n_skies: of each truth, strength or scenario, in place of the study's own.

    Raises:
        InputError: no such study (with the nearest name) or file, or a file that is not a study; skies of a study
            that makes none.
    """
    path = named_file("study", name, studies())
    table: Table = {"name": path.stem, **read_toml(path)}
    found = validated(Study, table, str(path))
    if quick:
        table = merged(table, QUICK if found.ensemble is not None else {})
        found = validated(Study, merged(table, found.quick), str(path))
    found._place = path.absolute().parent
    given = {"data": data and beside(Path.cwd(), data), "data_dir": data_dir}  # not from the folder of the study
    changed: Table = {key: value for key, value in given.items() if value is not None}
    for kind, part in {"calibration": found.calibration, "sensitivity": found.sensitivity}.items():
        if part is not None:
            changed |= {} if n_skies is None else {"skies": n_skies}
            return found.model_copy(update={kind: part.model_copy(update=changed)})
    if n_skies is not None:
        if found.skies is None:
            raise InputError(f"`n_skies` {n_skies}: study {found.name} makes no skies; leave it out")
        found = found.model_copy(update={"skies": found.skies.model_copy(update={"number": n_skies})})
    return found.model_copy(update={"ensemble": (found.ensemble or {}) | changed})


def merged(table: Mapping[str, Any], changes: Mapping[str, Any]) -> Table:
    """The table with changes: tables are merged, anything else takes the place of what was there.

    So do axes, truths, and a fit that names its method, since other methods have other settings.
    """
    result = deepcopy(dict(table))
    for key, value in changes.items():
        old, whole = result.get(key), key in ("axes", "truths") or (key == "fit" and "method" in value)
        if isinstance(old, dict) and isinstance(value, Mapping) and not whole:
            result[key] = merged(old, value)
        else:
            result[key] = deepcopy(value)
    return result
