"""What an emulation knows between two phases, as plain arrays for a checkpoint."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np

from gammasky.engine.infer.checkpoint import Arrays, Checkpoint
from gammasky.engine.infer.convergence import Convergence
from gammasky.engine.infer.emulator.copy import Copy
from gammasky.engine.infer.emulator.emulation import PHASES, Emulation
from gammasky.engine.infer.emulator.scouts import Forward
from gammasky.engine.infer.evidence import Evidence

_PREFIX = "emulator_"
_COPY = ("centre", "scale_tril", "middle", "spread", "wall", "reach", "reference", "block_inverse")
_PLAIN = ("phase", "pieces_done", "ticks", "returns", "step", "rounds", "seconds")
_CHAINS = ("on_likelihood", "accepted", "step")


def remembered(emulation: Emulation) -> Arrays:
    """All that the phases to come depend on."""
    plain: dict[str, Any] = {name: getattr(emulation, name) for name in _PLAIN}
    plain["log_z"] = asdict(emulation.log_z)
    plain["tests"] = [asdict(test) for test in emulation.tests]
    plain["found"] = {name: asdict(of) for name, of in emulation.found.items()}
    chains = emulation.chains
    plain["chains"] = {name: getattr(chains, name) for name in _CHAINS}
    plain["evaluations"] = [emulation.target.n_gradients, emulation.target.n_values]
    tables = {
        "plain": np.array(json.dumps(plain)),
        **{f"design_{name}": getattr(emulation.design, name) for name in ("x", "values", "gradients")},
        "design_sizes": np.array([len(features) for features in emulation.design.features], dtype=np.int64),
        **{f"copy_{name}": np.asarray(getattr(emulation.copy, name)) for name in _COPY},
        **{f"network_{name}": np.asarray(part) for name, part in emulation.copy.network.items()},
        **{f"walkers_{name}": x for name, x in emulation.walkers.items()},
        **{f"pool_{name}": values for name, values in emulation.pool.items()},
        **{f"chains_{name}": values for name, values in chains.kept.items()},
    }
    return {_PREFIX + name: values for name, values in tables.items()}


def recall(emulation: Emulation, checkpoint: Checkpoint) -> None:
    """Let an emulation go on from what `remembered` gave.

    Raises:
        InputError: an array is missing, or a number; what comes next is no phase.
        TypeError, ValueError, KeyError, AttributeError: what is there is of another kind (see `Checkpoint.reading`).
    """
    plain = checkpoint.table(_PREFIX + "plain", (*_PLAIN, "log_z", "tests", "found", "chains", "evaluations"))
    plain["phase"] = checkpoint.one_of(_PREFIX + "plain", plain["phase"], PHASES)
    for name in _PLAIN:
        setattr(emulation, name, plain[name])
    emulation.log_z = Evidence(**plain["log_z"])
    emulation.tests = [Forward(**test) for test in plain["tests"]]
    emulation.found = {name: Convergence(**of) for name, of in plain["found"].items()}
    emulation.target.n_gradients, emulation.target.n_values = plain["evaluations"]
    for name in _CHAINS:
        setattr(emulation.chains, name, plain["chains"][name])
    tables = {name: checkpoint[name] for name in checkpoint if name.startswith(_PREFIX)}

    def part(of: str) -> Arrays:
        begin = f"{_PREFIX}{of}_"
        return {name.removeprefix(begin): values for name, values in tables.items() if name.startswith(begin)}

    design = part("design")
    # in the same batches: to the last bit the same features
    for first, last in pairwise([0, *np.cumsum(design["sizes"])]):
        rows = slice(first, last)
        emulation.design.append(emulation.target, design["x"][rows], design["values"][rows], design["gradients"][rows])
    network = {name: jnp.asarray(values) for name, values in part("network").items()}
    copied = {name: checkpoint[f"{_PREFIX}copy_{name}"] for name in _COPY}
    fields: dict[str, Any] = {
        name: values[()] if values.ndim == 0 else jnp.asarray(values) for name, values in copied.items()
    }
    emulation.copy = Copy(**fields, network=network)
    emulation.walkers, emulation.pool, emulation.chains.kept = part("walkers"), part("pool"), part("chains")
