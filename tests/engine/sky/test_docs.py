"""The reference of data sets names every key that there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from gammasky.engine.sky import CatalogueDiscs, DeltaPSF, GaussianPSF, KingPSF, RegionOfInterest
from gammasky.engine.sky.manifest import (
    CatalogueTemplate,
    CountsMap,
    DataFile,
    ExposureMap,
    Manifest,
    MaskMap,
    OtherCounts,
    SourceTable,
    TemplateMap,
    Work,
)
from gammasky.engine.sky.psf import IRFSettings, PSFFile, TablePSF

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
TABLES = (
    Manifest, OtherCounts, CountsMap, ExposureMap, TemplateMap, CatalogueTemplate, MaskMap, SourceTable, DataFile, Work,
    KingPSF, GaussianPSF, TablePSF, DeltaPSF, PSFFile, IRFSettings, RegionOfInterest, CatalogueDiscs,
)  # fmt: skip


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_key_is_named(table: type[BaseModel]) -> None:
    reference = PAGE[PAGE.index("## A data set: `dataset.toml`") :]
    text = re.sub(r"```.*?```", "", reference, flags=re.DOTALL)
    words = [re.split(r"[. ]", quoted) for quoted in re.findall("`([^`]+)`", text)]
    named = {word for quoted in words for word in (quoted[0], quoted[min(1, len(quoted) - 1)])}
    assert [name for name in table.model_fields if name not in named] == []


def test_examples_are_what_they_say() -> None:
    """The manifest and the region of the page are read as they are."""
    blocks = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)]
    (manifest,) = [block for block in blocks if "counts" in block and "templates" in block]
    read = Manifest.model_validate(manifest)
    assert read.template_file("psc") == "gll_psch_v13.fit.gz"
    (region,) = [block["region"] for block in blocks if set(block) == {"region"}]
    assert len(RegionOfInterest(**region).sources) == 4
