"""Shared fixtures: double precision for JAX, the Fermi-LAT files where they are present, and a tiny sky of our own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# test processes side by side share the cores, as do those that they start; before anything reads these
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    threads = max((os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]), 1)
    for name in ("GAMMASKY_NUM_THREADS", "NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))

os.environ.setdefault("RAY_worker_niceness", "0")  # a test waits for its workers: others are not to go first

import healpy
import jax
import numpy as np
import pytest

from tests.other_seeds import shift_seeds
from tests.started.kept_programs import compile_kernels_once, keep_programs

jax.config.update("jax_enable_x64", True)
# programs compile in two thirds of the time, after `compiled_fast` in half, also in processes that a test starts. The
# other way of writing fused loops is what later versions know alone: an unknown flag would end the process
if jax.__version_info__[:2] == (0, 10):
    flags = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"

# a shell that starts the suite in the background makes it ignore Ctrl-C, and every process that a test starts
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thin", action="store_true", help="of each parametrised test run the first and the last case only"
    )
    parser.addoption("--shift-seeds", type=int, default=0, help="other random numbers for every seed; 0: as written")


def pytest_configure(config: pytest.Config) -> None:
    """Let the processes of this run share what they compile, in a folder that goes with it."""
    worker = getattr(config, "workerinput", None)  # of pytest-xdist
    if worker is None:
        config.stash[PROGRAMS] = tempfile.mkdtemp(prefix="gammasky-programs-")
        config.add_cleanup(lambda: shutil.rmtree(config.stash[PROGRAMS]))
    folder = Path(worker["programs"] if worker else config.stash[PROGRAMS])
    keep_programs(folder)
    compile_kernels_once(folder)
    if worker or not config.getoption("numprocesses", None):  # tests run here: for processes that they start
        os.environ["GAMMASKY_TEST_PROGRAMS"] = str(folder)
        others = [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one not in ("", STARTED)]
        os.environ["PYTHONPATH"] = os.pathsep.join([STARTED, *others])
    if shift := config.getoption("--shift-seeds"):
        shift_seeds(shift)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["programs"] = node.config.stash[PROGRAMS]


PROGRAMS = pytest.StashKey[str]()
STARTED = str(Path(__file__).with_name("started"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # files with slow tests go first: in the end no process waits for one that has just begun such a file. Among them
    # those of `compiled_fast` go first, among the others last: a change of compilation costs all that was compiled
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    FAST.update(item.path for item in items if "compiled_fast" in getattr(item, "fixturenames", ()))
    items.sort(key=lambda item: (item.path not in slow, (item.path in FAST) == (item.path not in slow)))
    if not config.getoption("--thin"):
        return
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = {item for test in cases.values() for item in (test[0], test[-1])}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


FAST: set[Path] = set()  # modules of `compiled_fast`
OPTIMIZATIONS = "JAX_DISABLE_MOST_OPTIMIZATIONS"
ALWAYS_FAST = os.environ.get(OPTIMIZATIONS) == "1"


@pytest.fixture(scope="module")
def compiled_fast() -> None:
    """Programs that compile in half the time and run more slowly, also in processes that a test starts.

    For modules that test what happens around a fit, and compare fits with fits of the same kind alone.
    """


@pytest.fixture(scope="module", autouse=True)
def _compilation(request: pytest.FixtureRequest) -> None:
    """Change how JAX compiles, where the module before wanted it otherwise."""
    fast = ALWAYS_FAST or request.path in FAST
    if (os.environ.get(OPTIMIZATIONS) == "1") != fast:
        os.environ[OPTIMIZATIONS] = str(int(fast))
        jax.config.update("jax_disable_most_optimizations", fast)
        jax.clear_caches()


@pytest.fixture
def own_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that the test starts compile, and keep what they compiled, as those of users do."""
    monkeypatch.delenv("GAMMASKY_TEST_PROGRAMS")


@pytest.fixture(scope="module")
def programs_shared() -> Iterator[None]:
    """Fits by the command line share the programs of one structure, as members of an ensemble do.

    For modules that test what happens around a fit: most of its time is compilation.
    """
    from gammasky.analyses import programs
    from gammasky.engine.infer import run
    from gammasky.engine.infer.settings import Settings
    from gammasky.engine.model import SkyModel

    alone = run.fit

    def shared(model: SkyModel, settings: Settings, **options: Any) -> Any:
        programs.share_programs(model, settings)
        return alone(model, settings, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "_shelf", {})
        patch.setattr(run, "fit", shared)
        yield


@pytest.fixture(scope="module")
def blank_figures() -> Iterator[None]:
    """Figures are made and then saved blank: text and lines on paper take longest.

    For modules that do not look at them.
    """
    from matplotlib.figure import Figure

    save = Figure.savefig

    def save_blank(_figure: Figure, target: Any, **_options: Any) -> None:
        save(Figure(figsize=(0.5, 0.5)), target, dpi=20, format="png")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_blank)
        yield


@pytest.fixture(scope="module")
def few_replicas() -> Iterator[None]:
    """Predictive checks of as few skies as they may have.

    For modules that do not look at their p-values.
    """
    from gammasky.engine.infer.predictive import predictive_check

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(predictive_check.__kwdefaults__, "n", 20)
        yield


FERMI_PLACES = (os.environ.get("GAMMASKY_DATA", ""), str(Path(__file__).parents[2] / "shared" / "fermi"))


def absent(what: str, variable: str) -> None:
    """Skip a test for lack of `what`; fail it where `variable` says that it must be there."""
    if os.environ.get(variable) == "1":
        pytest.fail(f"{what} not found, and {variable}=1")
    pytest.skip(f"{what} not found")


@pytest.fixture(scope="session")
def fermi_dir() -> Path:
    """The folder of the public Fermi-LAT files."""
    for place in FERMI_PLACES:
        if place and (Path(place) / "SHA256SUMS").is_file():
            return Path(place)
    absent("Fermi-LAT data", "GAMMASKY_REQUIRE_DATA")
    raise AssertionError("unreachable")


SKY_MANIFEST = """
name = "{name}"
nside = 16
energy_edges_gev = [2.0, 20.0]
counts = {{ file = "counts.npy" }}
exposure = {{ file = "exposure.npy" }}
psf = {{ kind = "delta" }}
[masks]
spot = {{ file = "spot.npy", masked_where = 1 }}
[templates]
{templates}
"""

TINY_MODEL = """
name = "tiny"
region = { latitude_min = 2.0, radius_max = 20.0, mask = "spot", exposure_regions = 1 }
source_grid = { max = 50.0, nodes = 60 }
[parameters]
S_flat = { prior = "uniform", low = 0.5, high = 6.0 }
Sps = { prior = "uniform", low = 0.1, high = 9.0 }
mix = { prior = "dirichlet" }
[[components]]
name = "smooth"
group = "all"
norm = "S_flat"
template = { mix = ["flat", "peak"], fractions = "mix" }
[[components]]
name = "sources"
group = "all"
norm = "Sps"
template = "peak"
source_counts = { slopes = [4.0, 1.5], breaks = [10.0] }
"""

TINY_POINT = {"S_flat": 2.0, "Sps": 3.0, "mix": [0.7, 0.3]}


@pytest.fixture(scope="session")
def places() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Longitude (-180 to 180), latitude and distance from the centre [deg] of the pixels of nside 16."""
    lon, lat = healpy.pix2ang(16, np.arange(3072), lonlat=True)
    lon = np.where(lon > 180, lon - 360, lon)
    return lon, lat, np.hypot(lon, lat)


@pytest.fixture(scope="session")
def write_sky(places: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Callable[..., Path]:
    """`write_sky(folder, name, templates, counts=...)`: a dataset of nside 16 with the mask `spot`.

    `templates` are file names with the map's unit and values (3072,); `counts` (3072,) are integers; the exposure
    varies over the sky unless it is asked to be uniform.
    """
    lon, lat, _ = places
    tilted = 1.5 + 0.5 * np.cos(np.deg2rad(lon + 2 * lat))

    def write(
        folder: Path, name: str, templates: dict[str, tuple[str, np.ndarray]], counts: np.ndarray, uniform: bool = False
    ) -> Path:
        folder.mkdir(exist_ok=True)
        for file, (_, values) in templates.items():
            if file.endswith(".npy"):
                np.save(folder / file, values)
            else:
                healpy.write_map(str(folder / file), values, coord="G", dtype=np.float64)
        np.save(folder / "counts.npy", counts)
        np.save(folder / "exposure.npy", 1e11 * (np.ones(3072) if uniform else tilted))
        np.save(folder / "spot.npy", (np.hypot(lon - 8, lat - 6) < 5).astype(int))
        lines = [f'{Path(file).stem} = {{ file = "{file}", unit = "{unit}" }}' for file, (unit, _) in templates.items()]
        manifest = SKY_MANIFEST.format(name=name, templates="\n".join(lines))
        (folder / "dataset.toml").write_text(manifest, encoding="utf-8")
        return folder

    return write


@pytest.fixture(scope="session")
def tiny_files(
    tmp_path_factory: pytest.TempPathFactory,
    places: tuple[np.ndarray, np.ndarray, np.ndarray],
    write_sky: Callable[..., Path],
) -> Path:
    """A dataset `sky` of uniform exposure and point-like PSF, a model and a parameter point; not to be written to."""
    folder = tmp_path_factory.mktemp("tiny")
    peak = np.exp(-places[2] / 8.0)
    templates = {"flat.npy": ("intensity", np.full(3072, 3.0)), "peak.npy": ("counts", peak)}
    write_sky(folder / "sky", "tiny", templates, np.random.default_rng(5).poisson(3.0 + 10 * peak), uniform=True)
    (folder / "model.toml").write_text(TINY_MODEL, encoding="utf-8")
    (folder / "point.json").write_text(json.dumps(TINY_POINT), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tiny_files: Path) -> Any:
    """That model on that dataset."""
    from gammasky.engine.model import SkyModel
    from gammasky.engine.sky.dataset import Dataset

    return SkyModel(tiny_files / "model.toml", Dataset.open(tiny_files / "sky"))


@pytest.fixture
def tiny(tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of these files, as the current folder."""
    shutil.copytree(tiny_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
