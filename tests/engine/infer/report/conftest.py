"""What tests of the report share: the folder of a fit that may be spoiled, and what its page consists of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from matplotlib.image import imsave

from gammasky.engine.infer.report import read_fit, report_page, sky
from gammasky.engine.model import SkyModel
from tests.fits import fit_of

BAND = ("coordinate", "low", "high", "counts", "expected", "p_counts", "p_dispersion")
BANDS = [
    dict(zip(BAND, ("radius", 0.0, 20.0, 900, 910.2, 0.7, 0.4), strict=True)),
    dict(zip(BAND, ("latitude", -20.0, -7.0, 300, 250.0, 0.01, 0.2), strict=True)),
]


class Page(HTMLParser):
    """What a page consists of, and whether its tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text, self.source = "", text
        self.feed(text)
        self.close()
        assert self.open == []

    def shows(self, *words: str) -> None:
        assert [entry for entry in words if entry not in self.text] == []

    def hides(self, *words: str) -> None:
        assert [entry for entry in words if entry in self.text] == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attributes if name in ("href", "src")]
        self.ids += [value or "" for name, value in attributes if name == "id"]
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data.replace("\n", " ")


@dataclass
class FitFolder:
    """The folder of a fit, its page, and what can be changed in its files."""

    path: Path

    def page(self, **options: Any) -> Page:
        return Page(report_page(read_fit(self.path), **options))

    def summary(self) -> dict[str, Any]:
        return json.loads((self.path / "summary.json").read_text(encoding="utf-8"))

    def change_summary(self, **entries: Any) -> None:
        (self.path / "summary.json").write_text(json.dumps({**self.summary(), **entries}), encoding="utf-8")

    @contextmanager
    def posterior(self) -> Iterator[xarray.DataTree]:
        """What is in the posterior file, which is written again afterwards."""
        with xarray.open_datatree(self.path / "posterior.nc", engine="h5netcdf") as tree:
            tree.load()
        yield tree
        (self.path / "posterior.nc").write_bytes(tree.to_netcdf(engine="h5netcdf"))

    def change_posterior(self, **attributes: Any) -> None:
        with self.posterior() as tree:
            tree.attrs.update(attributes)

    def write_fit(self, model: SkyModel) -> None:
        """The posterior and the summary of 400 prior draws."""
        z = np.random.default_rng(3).normal(size=(400, model.n_latent))
        info = {"guide": "mvn", "seed": 3, "status": "converged", "elbo": -1234.5, "elbo_error": 0.2, "steps": 10}
        fit_of(self.path, model, z, info, predictive_checks={"replicas": 200, "bands": BANDS})


@pytest.fixture(scope="session")
def parsed() -> type[Page]:
    """`parsed(text)`: a page."""
    return Page


@pytest.fixture(scope="session")
def made(tiny_model: SkyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fit; not to be written to."""
    folder = tmp_path_factory.mktemp("fit")
    FitFolder(folder).write_fit(tiny_model)
    (folder / "elbo.csv").write_text("step,elbo\n1,-1300\n2,-1250\n", encoding="utf-8")
    (folder / "figures").mkdir()
    imsave(folder / "figures" / "maps.png", np.random.default_rng(0).random((6, 8)))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> FitFolder:
    """A copy of it."""
    return FitFolder(Path(shutil.copytree(made, tmp_path / "fit")))


@pytest.fixture
def undrawn(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Source counts are not drawn, which is most of a page's time: for tests of what else it shows."""
    other = (made / "figures" / "maps.png").read_bytes()
    monkeypatch.setattr(sky, "_draw", lambda *_: other)
