"""The ways to a posterior, one file each. A new one is one class and its name in the list below."""

from gammasky.engine.infer.methods.auto import Auto
from gammasky.engine.infer.methods.emulator import Emulator
from gammasky.engine.infer.methods.laplace import Laplace
from gammasky.engine.infer.methods.method import Method
from gammasky.engine.infer.methods.nuts import Nuts
from gammasky.engine.infer.methods.svi import Svi

METHODS: dict[str, type[Method]] = {method.name: method for method in (Laplace, Emulator, Svi, Nuts, Auto)}
