"""What Python reads first in a process that a test starts: it shares compiled programs with the run it is part of."""

from __future__ import annotations

import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any


class _AfterJax(MetaPathFinder, Loader):
    """Imports JAX as ever, and then changes how it compiles: most of these processes never import it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "jax":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        from kept_programs import compile_kernels_once, keep_programs  # beside this file

        folder = Path(os.environ["GAMMASKY_TEST_PROGRAMS"])
        keep_programs(folder)
        compile_kernels_once(folder)


if os.environ.get("GAMMASKY_TEST_PROGRAMS"):
    sys.meta_path.insert(0, _AfterJax())
