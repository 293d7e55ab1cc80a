"""What fields cost: value and gradient of the fiducial model with fields on the gas, over those without, in one run.

python benchmarks/fields.py [DATA]
"""

from __future__ import annotations

import sys
from typing import Any

from in_turn import milliseconds

import gammasky
from gammasky.engine.model.spec import ModelSpec, model_from_table, read_model

CALLS = 20
FIELDS: dict[str, dict[str, Any]] = {
    "l <= 4": {"harmonics": 4, "amplitude": "a"},
    "l <= 8": {"harmonics": 8, "amplitude": "a"},
    "10 x 10": {"kernel": "matern32", "modes": 10, "amplitude": "a", "length_deg": "ell"},
    "14 x 14": {"kernel": "matern32", "modes": 14, "amplitude": "a", "length_deg": "ell"},
}


def with_field(field: dict[str, Any]) -> ModelSpec:
    """The fiducial model with a field on the gas in place of the modulation."""
    table = read_model("fiducial").model_dump(mode="json")
    del table["parameters"]["Alm"]
    table["components"][0]["template"] |= {"modulation": None, "field": {**field, "coefficients": "z"}}
    table["parameters"]["z"] = {"prior": "normal", "mean": 0.0, "sd": 1.0}
    table["parameters"]["a"] = {"prior": "halfnormal", "sd": 0.3}
    if "kernel" in field:
        table["parameters"]["ell"] = {"prior": "loguniform", "low": 9.0 if field["modes"] < 14 else 6.0, "high": 12.0}
    return model_from_table(table)


def main() -> None:
    """Time all models in turn, so that other work on the machine meets all of them, and print a table."""
    gammasky.configure()
    dataset = gammasky.Dataset.open(sys.argv[1] if len(sys.argv) > 1 else "fermi")
    models = {"without": gammasky.SkyModel("fiducial", dataset)}
    models |= {name: gammasky.SkyModel(with_field(field), dataset) for name, field in FIELDS.items()}
    found = milliseconds(models, CALLS)
    print(f"{'field':>10} {'latent':>7} {'ms/point':>9} {'ratio':>6}")
    for name, middle in found.items():
        print(f"{name:>10} {models[name].n_latent:7d} {middle:9.3f} {middle / found['without']:6.2f}")


if __name__ == "__main__":
    main()
