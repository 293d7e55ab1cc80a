"""The fit of one member: what it returns, how it goes on, and what members share in a process."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from gammasky.analyses import programs
from gammasky.analyses.ensemble.ensemble import Ensemble
from gammasky.analyses.ensemble.posterior import export_member
from gammasky.analyses.ensemble.task import EnsembleTask
from gammasky.analyses.programs import share_programs, structure
from gammasky.distributed.campaign import load_member, read_rows, run_campaign
from gammasky.distributed.member import Member
from gammasky.distributed.runners.inline import InlineRunner
from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError
from gammasky.engine.infer.outputs import CHECKPOINT
from gammasky.engine.infer.posterior import read_posterior_of
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel
from gammasky.engine.model.templates import user

DeskAt = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures", "few_replicas")
FIT = {"method": "svi", "emulator": False, "guide": "diagonal", "steps": 60, "particles": 2, "learning_rate": 0.05}
WIDE = {"name": "wide", "Sps": {"prior": "uniform", "low": 0.05, "high": 12.0}}


@pytest.fixture
def empty_shelf(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """No programs of other tests."""
    shelf: dict[str, Any] = {}
    monkeypatch.setattr(programs, "_shelf", shelf)
    return shelf


def ensemble(**changes: Any) -> tuple[EnsembleTask, list[Member]]:
    """An ensemble on the tiny sky in the current folder."""
    made = Ensemble(**{"name": "tiny", "model": "model.toml", "data": "sky", "fit": FIT, **changes})
    return made.expansion.task, made.expansion.members


def test_result(desk_at: DeskAt, tiny: Path) -> None:
    task, (member,) = ensemble()
    desk = desk_at(tiny)
    found = pickle.loads(pickle.dumps(task))(member.spec, desk)
    arrays, row = found.arrays, found.row
    model = task.model(member.spec)
    assert arrays["z"].shape == (2000, 3)
    np.testing.assert_array_equal(arrays["pixel"], model.pixels.index[: model.pixels.n_fit])
    assert arrays["pixel_elpd"].sum() == pytest.approx(row["elpd"])
    assert row["elpd"] < row["elpd"] + row["p_waic"] < arrays["log_likelihood"].max()
    assert 0.5 < row["p_waic"] < 6  # three parameters
    assert (row["n_pixels"], row["n_parameters"]) == (model.pixels.n_fit, 3)
    assert row["n_photons"] == model.pixels.counts.sum()
    assert row["observation"] == model.pixels.digest
    fraction = arrays["quantity_ps_fraction"]
    assert row["ps_fraction_mean"] == pytest.approx(fraction.mean())
    assert row["ps_fraction_q05"] == pytest.approx(np.quantile(fraction, 0.05))
    flux = arrays["quantity_excess_flux"]
    assert row["excess_share_mean"] == 1.0  # there is nothing else in this sky
    assert np.isfinite(flux).all()
    np.testing.assert_allclose(arrays["quantity_smooth_flux"], (1.0 - fraction) * flux, rtol=1e-9, atol=1e-12)
    assert arrays["quantity_n_sources"].min() > 0
    assert {row["log_z"] - row["elbo"] > -0.5, row["verdict"] in ("preview", "unreliable")} == {True}
    assert "the optimiser stopped before the ELBO was flat" in row["why"]
    assert desk.told[0] == (0.0, {})
    assert desk.told[-1][0] == 1.0
    assert desk.told[-1][1]["elbo"] == pytest.approx(arrays["elbo"].mean())  # fewer than a hundred steps
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_goes_on_from_a_checkpoint(desk_at: DeskAt, tiny: Path) -> None:
    task, (member,) = ensemble()
    whole, cut = desk_at(tiny / "whole"), desk_at(tiny / "cut", stop_at=0.01)
    for desk in (whole, cut):
        desk.folder.mkdir()
    expected = task(member.spec, whole)
    with pytest.raises(KeyboardInterrupt):
        task(member.spec, cut)
    assert (cut.folder / CHECKPOINT).is_file()
    again = desk_at(cut.folder)
    found = task(member.spec, again)
    assert again.told[1][0] > cut.told[-1][0]
    assert again.told[1][0] > 1 / 60  # not from the first step
    for name, values in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], values)


@pytest.mark.parametrize("kind", ["torn", "of another fit"])
def test_a_useless_checkpoint_is_no_end(desk_at: DeskAt, kind: str, tiny: Path) -> None:
    task, (member, other) = ensemble(axes={"seed": [0, 1]})
    if kind == "torn":
        (tiny / CHECKPOINT).write_bytes(b"PK not much")
    else:
        task(other.spec, desk_at(tiny))
    (tiny / "fresh").mkdir()
    expected = task(member.spec, desk_at(tiny / "fresh"))
    np.testing.assert_array_equal(task(member.spec, desk_at(tiny)).arrays["z"], expected.arrays["z"])


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Names of what JAX compiles in the body."""
    seen: list[str] = []

    def note(event: str, _seconds: float, **about: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(str(about.get("fun_name", "")))

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def test_members_of_one_structure_compile_once(desk_at: DeskAt, tiny: Path) -> None:
    """Other priors, another seed and another sky: not one program more, once all have been used."""
    np.save(tiny / "other.npy", np.random.default_rng(1).permutation(np.load(tiny / "sky" / "counts.npy")))
    (tiny / "other.toml").write_text('base = "sky"\nname = "other"\ncounts = { file = "other.npy" }\n')
    axes = {"priors": ["default", WIDE], "seed": [0, 1], "sky": ["sky", {"name": "other", "data": "other.toml"}]}
    task, members = ensemble(axes=axes)
    assert len(members) == 8
    assert len({structure(task.model(m.spec), Settings(**m.spec["fit"])) for m in members}) == 1
    assert len({task.structure(m.spec) for m in members}) == 1  # so they may be side by side
    _, others = ensemble(axes={"latitude_min": [3.0, 4.0]})
    assert len({task.structure(m.spec) for m in [members[0], *others]}) == 3
    task(members[0].spec, desk_at(tiny))
    with compilations() as later:
        z = [task(member.spec, desk_at(tiny)).arrays["z"] for member in members[1:4]]
    assert later == []
    with compilations() as seen:
        jax.jit(lambda x: x + 1)(0.0)
    assert len(seen) == 1  # else the count above would say nothing
    assert not np.array_equal(z[0], z[1])


@pytest.mark.slow
@pytest.mark.usefixtures("empty_shelf")
def test_a_shared_program_gives_what_a_fresh_process_gives(desk_at: DeskAt, tiny: Path) -> None:
    """Bit for bit, though the program was compiled for other priors and another seed."""
    axes = {"priors": ["default", WIDE], "seed": [0, 1]}
    task, members = ensemble(axes=axes)
    task(members[0].spec, desk_at(tiny))
    (tiny / CHECKPOINT).unlink()
    shared = task(members[-1].spec, desk_at(tiny))
    (tiny / CHECKPOINT).unlink()
    (tiny / "job.json").write_text(json.dumps({"axes": axes, "fit": FIT}))
    code = (
        "import json, pathlib, types, numpy as np, jax\n"
        "jax.config.update('jax_enable_x64', True)\n"
        "import gammasky.analyses.ensemble.task as module\n"
        "from gammasky.analyses.ensemble.ensemble import Ensemble\n"
        "module.configure = lambda: None\n"
        "made = Ensemble(name='tiny', model='model.toml', data='sky', **json.load(open('job.json')))\n"
        "desk = types.SimpleNamespace(folder=pathlib.Path('.'), lanes=1, report=lambda fraction, **values: None)\n"
        "found = made.expansion.task(made.expansion.members[-1].spec, desk)\n"
        "np.savez('fresh.npz', **found.arrays)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tiny, check=True, timeout=120)
    with np.load(tiny / "fresh.npz") as fresh:
        assert set(fresh.files) == set(shared.arrays)
        for name in fresh.files:
            np.testing.assert_array_equal(fresh[name], shared.arrays[name])


def test_a_member_becomes_a_posterior_file(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (tiny / "model.toml").read_text(encoding="utf-8")
    first, second = (line for line in text.splitlines(keepends=True) if line.startswith(("S_flat =", "Sps =")))
    (tiny / "model.toml").write_text(text.replace(first + second, second + first), encoding="utf-8")  # not by alphabet
    made = Ensemble(name="tiny", model="model.toml", data="sky", fit={"method": "laplace"}, axes={"seed": [0]})
    (member,) = made.expansion.members
    run_campaign(
        tiny / "campaign",
        made.expansion.task,
        [member],
        made.resources,
        InlineRunner(),
        manifest=made.manifest(),
        quiet=True,
    )
    (tiny / "elsewhere").mkdir()
    monkeypatch.chdir(tiny / "elsewhere")
    path = export_member(tiny / "campaign", member.name, "posterior.nc")
    tree = read_posterior_of(path, made.expansion.task.model(member.spec))
    (row,) = read_rows(tiny / "campaign")
    assert float(tree["posterior"]["flux"].sum("component").mean()) == pytest.approx(row["excess_flux_mean"])
    assert tree.attrs["log_z"] == row["log_z"]
    with pytest.raises(InputError, match="unknown member 'tine'; did you mean 'tiny'"):
        export_member(tiny / "campaign", "tine", "other.nc")


def test_structures_that_differ(tiny: Path) -> None:
    """What a program holds as a constant keeps members apart."""
    axes = {
        "mine": {
            "base": {},
            "slope": {"components.sources.source_counts": {"slopes": [4.0, 1.4], "breaks": [10.0]}},
            "nodes": {"source_grid.nodes": 61},
            "kind": {"parameters.Sps": {"prior": "loguniform", "low": 0.1, "high": 9.0}},
            "pixels": {"region.radius_max": 15.0},
            "shift": {"region.center_lon": 30.0},
        }
    }
    task, members = ensemble(axes=axes)
    settings = Settings(**members[0].spec["fit"])
    keys = [structure(task.model(member.spec), settings) for member in members]
    assert len(set(keys)) == len(members) == 6
    assert structure(task.model(members[0].spec), Settings(**{**FIT, "particles": 3})) not in keys
    assert tiny.is_dir()


def test_numbers_of_an_amplitude_are_structure(tiny: Path) -> None:
    """The coordinates of an amplitude hold the numbers of its priors."""
    text = (tiny / "model.toml").read_text()
    text = text.replace('norm = "Sps"', 'amplitude = "Sps"').replace(
        'Sps = { prior = "uniform"', 'Sps = { prior = "loguniform"'
    )
    (tiny / "model.toml").write_text(text)
    wide = {"name": "wide", "Sps": {"prior": "loguniform", "low": 0.01, "high": 9.0}}
    task, members = ensemble(axes={"priors": ["default", wide]})
    assert len({structure(task.model(m.spec), Settings(**FIT)) for m in members}) == 2


def test_members_side_by_side(desk_at: DeskAt, tiny: Path) -> None:
    """To the last bit what each finds alone; and a campaign goes on with other lanes than it began with."""
    axes = {"priors": ["default", WIDE], "seed": [0, 1]}
    made = Ensemble(name="tiny", model="model.toml", data="sky", fit=FIT, axes=axes)
    campaign = made.run("campaign", address=None, lanes=3, quiet=True)
    assert campaign.tally is not None
    assert campaign.tally.done == 4
    before = {}
    for member in made.expansion.members:
        key = Store.key(member.spec)
        (tiny / key).mkdir()
        before[key] = load_member(tiny / "campaign", key).arrays["z"]
        np.testing.assert_array_equal(made.expansion.task(member.spec, desk_at(tiny / key)).arrays["z"], before[key])
    removed = list(before)[:2]
    for key in removed:
        (tiny / "campaign" / "members" / f"{key}.npz").unlink()
    resumed = campaign.resume(address=None, lanes=2, quiet=True).tally
    assert resumed is not None
    assert resumed.fitted == 2
    for key in removed:
        np.testing.assert_array_equal(load_member(tiny / "campaign", key).arrays["z"], before[key])


def test_what_lanes_ask_is_gathered_on_a_gpu_alone(tiny_model: SkyModel, empty_shelf: dict[str, Any]) -> None:
    counts = tiny_model.counts_term.counts
    one, other = tiny_model.with_counts(counts), tiny_model.with_counts(counts[::-1])
    share_programs(one, Settings(), 4)
    assert one.programs.width == 1
    one.backend = other.backend = "cuda"
    for model in (one, other):
        share_programs(model, Settings(), 4)
    assert one.programs is other.programs
    assert one.programs.width == 4
    for part, same in zip(jax.tree.leaves(one.arrays["sky"]), jax.tree.leaves(other.arrays["sky"]), strict=True):
        assert part is same
    share_programs(one, Settings())
    assert one.programs.width == 1
    assert len(empty_shelf) == 2


def test_few_structures_are_kept(tiny: Path, monkeypatch: pytest.MonkeyPatch, empty_shelf: dict[str, Any]) -> None:
    monkeypatch.setattr(programs, "MOST_KEPT", 2)
    task, members = ensemble(axes={"radius_max": [10, 12, 14]})
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(list(empty_shelf)))
    models = [task.model(member.spec) for member in members]
    first, second, third = (structure(model, Settings()) for model in models)
    for model in (models[0], models[1], models[0]):
        share_programs(model, Settings())
    assert (list(empty_shelf), cleared) == ([first, second], [])
    share_programs(models[2], Settings())
    assert (list(empty_shelf), cleared) == ([third], [[]])
    assert tiny.is_dir()


def test_other_data_than_planned(desk_at: DeskAt, tiny: Path) -> None:
    from gammasky.analyses.ensemble import task as module

    task, (member,) = ensemble()
    np.save(tiny / "sky" / "flat.npy", 2 * np.load(tiny / "sky" / "flat.npy"))
    module._opened.cache_clear()
    with pytest.raises(InputError, match=r"dataset 'tiny': sha256\.flat\.npy was .*, is .*; give the data that"):
        task(member.spec, desk_at(tiny))
    stranger = {**member.spec, "data": {"name": "far", "sha256": {"counts.npy": "0"}}}
    with pytest.raises(InputError, match="dataset 'far': not one of this campaign"):
        task(stranger, desk_at(tiny))


FUNCTION = """import jax.numpy as jnp


def blob(parameters, lon, lat):
    return jnp.exp(-jnp.hypot(lon, lat) / parameters["scale"])
"""
OWN = """
[[components]]
name = "own"
norm = 0.5
template = { function = "shapes.py:blob", parameters = { scale = 4.0 } }
"""


def test_a_worker_runs_the_function_of_the_plan_and_no_other(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has read no model file: it reads that of the campaign, and goes by the content."""
    (tiny / "model.toml").write_text((tiny / "model.toml").read_text() + OWN)
    (tiny / "shapes.py").write_text(FUNCTION)
    task, (member,) = ensemble()
    sent = pickle.dumps(task)

    def in_a_worker() -> SkyModel:
        monkeypatch.setattr(user, "_named", {})
        monkeypatch.chdir("/")
        return pickle.loads(sent).model(member.spec)

    model = in_a_worker()
    values = np.asarray(model.expectation.template("own", {}, model.arrays["sky"]))
    lon = (model.pixels.lon_deg + 180.0) % 360.0 - 180.0
    expected = np.exp(-np.hypot(lon, model.pixels.lat_deg) / 4.0) * model.pixels.relative_exposure
    np.testing.assert_allclose(values, expected / expected[: model.pixels.n_region].mean(), rtol=1e-12)
    (tiny / "shapes.py").write_text(FUNCTION + "raise SystemExit\n")
    with pytest.raises(
        InputError, match=r"^template 'shapes.py:blob': the file has another content .*; put the file b"
    ):
        in_a_worker()
    (tiny / "shapes.py").unlink()
    with pytest.raises(InputError, match=r"shapes.py: file not found"):
        in_a_worker()


def test_a_choice_cannot_name_a_function(tiny: Path) -> None:
    (tiny / "shapes.py").write_text(FUNCTION)
    template = {"function": "shapes.py:blob", "parameters": {"scale": 4.0}}
    with pytest.raises(InputError, match=r"template 'shapes.py:blob': only a model file can name a Python function; w"):
        ensemble(axes={"shape": {"blob": {"components.smooth.template": template}}})
