"""Templates, one file for each kind; the imports below register them."""

from gammasky.engine.model.templates.base import TEMPLATES, AnyTemplate, Profile, Template
from gammasky.engine.model.templates.function import Function
from gammasky.engine.model.templates.setting import Setting

from gammasky.engine.model.templates.map import MapTemplate  # isort: skip
from gammasky.engine.model.templates.mix import MixTemplate  # isort: skip
from gammasky.engine.model.templates.nfw import NfwTemplate  # isort: skip
from gammasky.engine.model.templates.disk import DiskTemplate  # isort: skip
from gammasky.engine.model.templates.bar import BarTemplate  # isort: skip
from gammasky.engine.model.templates.einasto import EinastoTemplate  # isort: skip
from gammasky.engine.model.templates.annuli import AnnuliTemplate  # isort: skip
from gammasky.engine.model.templates.user import FunctionTemplate, read_source  # isort: skip

__all__ = [
    "TEMPLATES",
    "AnnuliTemplate",
    "AnyTemplate",
    "BarTemplate",
    "DiskTemplate",
    "EinastoTemplate",
    "Function",
    "FunctionTemplate",
    "MapTemplate",
    "MixTemplate",
    "NfwTemplate",
    "Profile",
    "Setting",
    "Template",
    "read_source",
]
