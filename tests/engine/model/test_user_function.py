"""A template from a Python function of the user's own: what it gives, what it is part of, and when it is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.infer.report.model_toml import model_toml
from gammasky.engine.model import SkyModel, model_from_table, read_model
from gammasky.engine.model.density import digest_of
from gammasky.engine.model.spec import ModelSpec
from gammasky.engine.model.templates import user
from gammasky.engine.sky.dataset import Dataset

MODEL = """
name = "own"
region = { latitude_min = 2.0, radius_max = 20.0, mask = "spot", exposure_regions = 1 }
[parameters]
S_flat = { prior = "uniform", low = 0.5, high = 6.0 }
S_own = { prior = "uniform", low = 0.1, high = 9.0 }
scale = { prior = "uniform", low = 2.0, high = 9.0 }
[[components]]
name = "flat"
norm = "S_flat"
template = "flat"
[[components]]
name = "own"
norm = "S_own"
template = { function = "shapes/mine.py:blob", parameters = { scale = "2 * scale", power = 1.0 } }
"""
CODE = """
from pathlib import Path
import jax.numpy as jnp

Path("{marker}").touch()

def blob(parameters, lon, lat):
    return jnp.exp(-(jnp.hypot(lon, lat) / parameters["scale"]) ** parameters["power"])
"""


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has read no model file yet."""
    monkeypatch.setattr(user, "_named", {})
    user._compiled.cache_clear()
    yield
    user._compiled.cache_clear()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A model file, beside a folder with its function, which leaves a file `ran` when it is run."""
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "mine.py").write_text(CODE.replace("{marker}", str(tmp_path / "ran")), encoding="utf-8")
    (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
    return tmp_path


@pytest.fixture
def sky(tiny_files: Path) -> Dataset:
    return Dataset.open(tiny_files / "sky")


def changed(files: Path, old: str, new: str) -> Path:
    path = files / "shapes" / "mine.py"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return files / "model.toml"


def test_it_is_the_template_that_the_function_says(files: Path, sky: Dataset) -> None:
    model = SkyModel(files / "model.toml", sky)
    theta = model.point({"S_flat": 2.0, "S_own": 3.0, "scale": 4.0})
    found = model.expectation.template("own", theta, model.arrays["sky"])
    distance = np.hypot((model.pixels.lon_deg + 180) % 360 - 180, model.pixels.lat_deg)
    expected = np.exp(-distance / 8.0) * model.pixels.relative_exposure
    np.testing.assert_allclose(found, expected / expected[: model.pixels.n_region].mean(), rtol=1e-12)
    total = jax.jit(lambda scale: model.log_likelihood(theta | {"scale": scale}))
    at = [float(total(jnp.asarray(4.0 + k * 1e-3))) for k in (-2, -1, 1, 2)]
    expected_slope = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / 12e-3
    assert float(jax.grad(total)(jnp.asarray(4.0))) == pytest.approx(expected_slope, rel=1e-7)
    assert "scale" in model.main_parameters()


def test_its_content_is_part_of_the_model_and_its_place_is_not(
    files: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    digest = digest_of(read_model(files / "model.toml"))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "mine.py").write_text((files / "shapes" / "mine.py").read_text(encoding="utf-8"), encoding="utf-8")
    (elsewhere / "model.toml").write_text(MODEL.replace("shapes/mine.py", "mine.py"), encoding="utf-8")
    assert digest_of(read_model(elsewhere / "model.toml")) == digest
    changed(files, "jnp.exp(-", "0.5 * jnp.exp(-")
    assert digest_of(read_model(files / "model.toml")) != digest


def test_it_is_not_run_where_no_model_file_names_it(files: Path, sky: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading runs nothing; a description from a result is never run; the model file, read again, allows it."""
    saved = read_model(files / "model.toml").model_dump_json()
    assert not (files / "ran").exists()
    monkeypatch.setattr(user, "_named", {})
    spec = ModelSpec.model_validate_json(saved)
    with pytest.raises(InputError, match=r"template 'mine.py:blob': a Python function is run only for a model file"):
        SkyModel(spec, sky)
    (files / "again.toml").write_text(model_toml(spec), encoding="utf-8")
    with pytest.raises(InputError, match="`source` is the content of its file, which is read from there; put it into"):
        read_model(files / "again.toml")
    other = model_from_table({**spec.model_dump(), "name": "tampered"})
    template = other.components[1].template
    tampered = template.model_copy(update={"source": CODE.replace("{marker}", str(files / "tampered"))})
    read_model(files / "model.toml")
    components = [other.components[0], other.components[1].model_copy(update={"template": tampered})]
    with pytest.raises(InputError, match="the file has another content than this description, which is not run"):
        SkyModel(other.model_copy(update={"components": components}), sky)
    assert not (files / "ran").exists()
    assert not (files / "tampered").exists()
    SkyModel(spec, sky)
    assert (files / "ran").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "import jax.numpy as jnp",
            "import jax.numpy as jnp\nx = 1 / 0",
            "the file raised ZeroDivisionError: division",
        ),
        ("def blob(parameters", "def blob(parameters:", "the file raised SyntaxError: "),
        ("def blob", "def bleb", r"the file has no function 'blob' \(it has Path, bleb\)"),
        ("jnp.hypot", "__import__('numpy').hypot", "the function raised TracerArrayConversionError: .*; write it with"),
        ('["scale"]', '["scales"]', "the function raised KeyError: 'scales'"),
        ("return ", "return 1.0 or ", r"expected an array of float64 .* from the function, got float64 \(\)"),
        ("return jnp.exp", "return jnp.sum(lat**2) + 0 * jnp.exp", None),
        ("return ", "return jnp.sum(lon) or ", "the function raised TracerBoolConversionError"),
        (
            '** parameters["power"])',
            '** parameters["power"])[:3]',
            r"expected an array of .*, got float64 \(3,\)",
        ),
    ],
)
def test_functions_that_cannot_be_used(files: Path, sky: Dataset, old: str, new: str, message: str | None) -> None:
    path = changed(files, old, new)
    if message is None:
        SkyModel(path, sky)
        return
    with pytest.raises(InputError, match=f"^template 'mine.py:blob': {message}") as told:
        SkyModel(path, sky)
    assert "\n" not in str(told.value)


VALUES = {
    "zero": ("return ", "return 0.0 * ", "expected a mean above zero in the region of interest, got 0; correct it"),
    "below zero": ("return ", "return -", r"expected a mean above zero in the region of interest, got -\d"),
    "no number": ("return ", "return (lat - lat) / jnp.where(lat > 0, 1.0, 0.0) + ",
                  r"expected finite numbers in the region of interest, got nan at longitude [-\d.]+, latitude -"),
}  # fmt: skip


@pytest.mark.parametrize("fixed", [False, True], ids=["moving", "fixed"])
@pytest.mark.parametrize("case", VALUES)
def test_functions_without_a_mean_in_the_region(files: Path, sky: Dataset, case: str, fixed: bool) -> None:
    """What moves is looked at in the middle of its priors, what is fixed as it is."""
    old, new, message = VALUES[case]
    path, at = changed(files, old, new), " with every parameter in the middle of its prior"
    if fixed:
        text = MODEL.replace("2 * scale", "5.0").replace('"5.0"', "5.0")
        path.write_text("".join(line for line in text.splitlines(True) if not line.startswith("scale")))
    with pytest.raises(InputError, match=f"^template 'blob'{'' if fixed else at}: {message}") as told:
        SkyModel(path, sky)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("shapes/mine.py:blob", "shapes/none.py:blob", "none.py: file not found; put it there, or correct its name"),
        ("shapes/mine.py:blob", "shapes/mine.py", "expected FILE.py:NAME, a Python file and a function in it"),
        ("2 * scale", "2 * scal", "component 'own', function parameters scale: .* unknown parameter 'scal'; did you"),
    ],
)
def test_model_files_that_cannot_be_used(files: Path, sky: Dataset, old: str, new: str, message: str) -> None:
    path = files / "model.toml"
    path.write_text(MODEL.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        SkyModel(path, sky)
