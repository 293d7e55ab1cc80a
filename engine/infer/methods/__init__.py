"""The ways to a posterior, each a `Stage` that runs in bounded pieces, writes checkpoints and ends in a `Fit`."""

from gammasky.engine.infer.methods.auto import AutoStage
from gammasky.engine.infer.methods.laplace import LaplaceStage
from gammasky.engine.infer.methods.nuts import NutsStage
from gammasky.engine.infer.methods.stage import Stage
from gammasky.engine.infer.methods.svi import SviStage

STAGES: dict[str, type[Stage]] = {stage.name: stage for stage in (LaplaceStage, SviStage, NutsStage, AutoStage)}
