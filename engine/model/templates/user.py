"""A template that is a Python function of the user's own.

This is the one place where text becomes a program, because the user asks for it: a model file that is read names the
Python file, and its content becomes part of the description, so that fits of other contents are other fits. A
description that comes from anywhere else, such as a saved fit or the plan of a campaign, holds the content too, and it
is not run: only that of a file that `read_source` has read in this process is. So workers of a campaign read the model
file that the campaign is of, and run what the plan holds if the file beside it says the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator

from gammasky.engine.errors import InputError
from gammasky.engine.files import read_bytes
from gammasky.engine.model.templates.base import TEMPLATES, Profile
from gammasky.engine.model.templates.setting import Setting
from gammasky.engine.model.values import Parameters, Use, Value, uses_of, value_of

#: (parameters by name, longitude (N,) [deg], latitude (N,) [deg]) -> intensity (N,), in operations of JAX.
UserFunction = Callable[[Mapping[str, jax.Array], jax.Array, jax.Array], jax.Array]

_FORM = re.compile(r"[^:]*\.py:[^\W\d]\w*")
_named: dict[str, str] = {}  # digests of the contents that model files of this process have named, and as what


def read_source(template: Any, folder: Path) -> None:
    """Put the content of the Python files that a template in a model file names into its table, to be run.

    Args:
        template: the table of a template, or the name of a map.
        folder: of the model file, to which the paths in it are relative.

    Raises:
        InputError: a file that cannot be read, or a content that is given without its file.
    """
    if not isinstance(template, dict):
        return
    for member in template["mix"] if isinstance(template.get("mix"), list) else []:
        read_source(member, folder)
    function = template.get("function")
    if not isinstance(function, str) or not _FORM.fullmatch(function):
        return
    if "source" in template:
        raise InputError(
            f"template '{function}': `source` is the content of its file, which is read from there; put it into the "
            "file and leave `source` out"
        )
    file, _, name = function.rpartition(":")
    content = read_bytes(folder / file)
    try:
        template["source"] = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{folder / file}: expected a Python file in UTF-8: {error}") from None
    template["function"] = f"{Path(file).name}:{name}"
    _named[_digest(template["source"])] = template["function"]


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


@TEMPLATES.add
class FunctionTemplate(Profile):
    """A template that a Python function gives, written with `jax.numpy`, so that fits have its derivatives.

    Args:
        function: "FILE.py:NAME", relative to the model file: a function NAME(parameters, lon, lat) that gives the
            intensity (N,), in any unit, at longitudes (-180 to 180) and latitudes (N,) [deg].
        parameters: what it is given as `parameters`, by name: numbers, names of parameters or expressions.
        source: the content of the file, which becomes part of the model when the model file is read; not to be given.
    """

    kind: ClassVar[str] = "function"

    function: str
    parameters: dict[str, Value] = Field(default_factory=dict)
    source: str = ""

    @model_validator(mode="after")
    def _form(self) -> Self:
        if not _FORM.fullmatch(self.function):
            raise ValueError("expected FILE.py:NAME, a Python file and a function in it")
        return self

    def label(self) -> str:
        return self.function.rpartition(":")[2]

    def shape_uses(self, where: str) -> Iterator[Use]:
        for name, value in self.parameters.items():
            yield from uses_of(f"{where}, function parameters {name}", value)

    def require_read(self) -> None:
        """Refuse a content that no model file of this process has named: it is not run.

        Raises:
            InputError: says whether the file has changed, or none was read.
        """
        if _digest(self.source) in _named:
            return
        if not self.source:
            raise InputError(
                f"template '{self.function}': only a model file can name a Python function; write the component there"
            )
        if self.function in _named.values():
            raise InputError(
                f"template '{self.function}': the file has another content than this description, which is not run; "
                "put the file back as it was, or begin anew with the file as it is"
            )
        raise InputError(
            f"template '{self.function}': a Python function is run only for a model file that names it; this "
            "description is from elsewhere, such as a saved fit: give its model file too (in Python, read it first "
            "with engine.model.read_model)"
        )

    def intensity(self, setting: Setting) -> Callable[[Parameters], jax.Array]:
        self.require_read()
        function = _compiled(self.source, self.function)
        lon, lat = np.mod(setting.pixels.lon_deg + 180.0, 360.0) - 180.0, setting.pixels.lat_deg

        def intensity(theta: Parameters) -> jax.Array:
            given = {name: value_of(value, theta) for name, value in self.parameters.items()}
            return function(given, jnp.asarray(lon), jnp.asarray(lat))

        numbers = {name: jax.ShapeDtypeStruct((), jnp.float64) for name in self.parameters}
        _require_values(self.function, function, numbers, lon.shape)
        return intensity


def _require_values(text: str, function: UserFunction, numbers: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    """Refuse a function that does not give one number for each pixel, or that JAX cannot follow."""
    places = jax.ShapeDtypeStruct(shape, jnp.float64)
    try:
        found = jax.eval_shape(function, dict(numbers), places, places)
    except Exception as error:  # whatever it is, it is the user's to mend
        raise InputError(
            f"template '{text}': the function raised {_told(error)}; write it with jax.numpy, of (parameters, lon, lat)"
        ) from error
    if getattr(found, "shape", None) != shape or found.dtype != jnp.float64:
        got = f"{found.dtype} {found.shape}" if hasattr(found, "shape") else f"{type(found).__name__}"
        raise InputError(f"template '{text}': expected an array of float64 {shape} from the function, got {got}")


@lru_cache(maxsize=64)
def _compiled(source: str, text: str) -> UserFunction:
    """The function of that content and name.

    Raises:
        InputError: a file that does not run, or has no such function.
    """
    file, _, name = text.rpartition(":")
    module = ModuleType(Path(file).stem)
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    except Exception as error:
        raise InputError(f"template '{text}': the file raised {_told(error)}") from error
    found = getattr(module, name, None)
    if not callable(found):
        known = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise InputError(f"template '{text}': the file has no function '{name}' (it has {', '.join(known) or 'none'})")
    return found


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
