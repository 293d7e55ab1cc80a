"""Expressions of parameters: their values and slopes, what they may be by the priors, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gammasky.engine.errors import InputError
from gammasky.engine.infer.maximum.nested_model import nested_spec
from gammasky.engine.infer.maximum.null import read_null
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model.expressions import read, substituted
from gammasky.engine.model.main_parameters import main_parameters
from gammasky.engine.model.parameters import parameter_labels

Table = dict[str, Any]
SUPPORTS = {"F": (0.1, 10.0), "f": (0.0, 1.0), "x": (-2.0, 3.0), "n": (-math.inf, math.inf), "lambda": (1.0, 2.0)}

#: Text -> the same in Python.
MEANT: dict[str, Callable[..., float]] = {
    "F * (1 - f)": lambda p: p.F * (1 - p.f),
    "-x ** 2": lambda p: -(p.x**2),
    "(-x) ** 3 / F": lambda p: (-p.x) ** 3 / p.F,
    "F ** -1.5": lambda p: p.F**-1.5,
    "F ** f": lambda p: p.F**p.f,
    "exp(x) - log(F) + sqrt(f)": lambda p: math.exp(p.x) - math.log(p.F) + math.sqrt(p.f),
    "min(F, 3, x) + max(f, x)": lambda p: min(p.F, 3, p.x) + max(p.f, p.x),
    " F\n * 1e-2 ": lambda p: p.F * 1e-2,
    "2 - 3 - F / 2 / 2": lambda p: 2 - 3 - p.F / 2 / 2,
    "x ** (1 + 1)": lambda p: p.x**2,
}
POINTS = [(2.0, 0.25, -1.5), (0.3, 0.9, 2.5), (7.0, 0.5, 0.2)]


@pytest.mark.parametrize("text", MEANT)
def test_values_and_slopes_are_those_of_python(text: str) -> None:
    expression = read(text)
    for point in POINTS:
        value, slopes = jax.value_and_grad(lambda p: expression.value(dict(zip("Ffx", p, strict=True))))(
            jnp.asarray(point)
        )
        np.testing.assert_allclose(
            value, MEANT[text](SimpleNamespace(**dict(zip("Ffx", point, strict=True)))), rtol=1e-13
        )
        for i, slope in enumerate(slopes):
            step = 1e-6 * np.eye(3)[i]
            beside = [dict(zip("Ffx", np.array(point) + sign * step, strict=True)) for sign in (1, -1)]
            ends = [MEANT[text](SimpleNamespace(**values)) for values in beside]
            np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("F * (1 - f)", (0.0, 10.0)),
        ("x ** 2", (0.0, 9.0)),
        ("x ** 3", (-8.0, 27.0)),
        ("-x", (-3.0, 2.0)),
        ("1 / F", (0.1, 10.0)),
        ("exp(n)", (0.0, math.inf)),
        ("f * n", (-math.inf, math.inf)),
        ("0 * n", (0.0, 0.0)),
        ("min(x, 1)", (-2.0, 1.0)),
        ("max(x, f)", (0.0, 3.0)),
        ("f - f", (-1.0, 1.0)),
        ("n - n", (-math.inf, math.inf)),
        ("F ** (1e308 * 10)", (0.0, math.inf)),
    ],
)
def test_limits_by_the_priors(text: str, limits: tuple[float, float]) -> None:
    np.testing.assert_allclose(read(text).limits(SUPPORTS), limits, rtol=1e-15)


def test_a_power_without_end_has_a_value() -> None:
    assert float(read("F ** (1e308 * 10)").value({"F": jnp.asarray(0.5)})) == 0.0


def texts(depth: int) -> st.SearchStrategy[str]:
    leaf = st.sampled_from(["F", "f", "x", "0.5", "3", "1.7"])
    if depth == 0:
        return leaf
    inner = texts(depth - 1)
    return st.one_of(
        leaf,
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/"]), inner),
        st.builds("{}({})".format, st.sampled_from(["exp", "log", "sqrt", "-"]), inner),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
        st.builds("({}) ** {}".format, inner, st.sampled_from(["2", "3", "0.5", "-1"])),
    )


@settings(deadline=None)
@given(texts(3), st.floats(0.1, 10.0), st.floats(0.0, 1.0), st.floats(-2.0, 3.0))
def test_no_value_lies_outside_the_limits(text: str, F: float, f: float, x: float) -> None:
    """Of what is not refused: the value at any point of the priors is a number within the limits."""
    expression = read(text)
    try:
        low, high = expression.limits(SUPPORTS)
    except InputError:
        return
    with jax.disable_jit():
        value = float(expression.value({"F": jnp.asarray(F), "f": jnp.asarray(f), "x": jnp.asarray(x)}))
    slack = 1e-9 * max(abs(value), 1.0) if math.isfinite(value) else 0.0
    assert low - slack <= value <= high + slack


REFUSED = {
    "F.real": "character 1: 'F.real' is not allowed; an expression is made of",
    "2 * __import__('os')": r"character 5: '__import__\('os'\)' is not allowed",
    "F * abs(x)": r"character 5: 'abs\(x\)' is not allowed",
    "F if f else 1": "character 1: .* is not allowed",
    "F[0] * 2": r"character 1: 'F\[0\]' is not allowed",
    "F @ f": "character 1: 'F @ f' is not allowed",
    "é + F.a": "character 5: 'F.a' is not allowed",
    "min(*F, 2)": r"character 5: '\*F' is not allowed",
    "log(x=1)": "character 1: .* is not allowed",
    "True * 2": "character 1: 'True' is not allowed",
    "'a' * 2": "character 1: ''a'' is not allowed",
    "2j * F": "character 1: '2j' is not allowed",
    "1e999 * F": "character 1: expected a finite number, got '1e999'",
    "lambda * 2": "'lambda' cannot stand in an expression; rename the parameter",
    "F +": "expected the name of a parameter or an expression of",
    "": "expected the name of a parameter or an expression of",
    "exp(F, 2)": "character 1: exp takes one number, got 2",
    "2 + max(F)": "character 5: max takes two numbers or more, got 1",
    "(" * 60 + "F" + ")" * 60: "character 51: nested too deep, expected at most 50 brackets",
    "-" * 300 + "F": "character 101: nested too deep, expected at most 100 operations",
    "F + " * 400 + "F": "character 1001: expected at most 1000 characters",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"^component 'a', norm: '.*{REFUSED[text]}") as told:
        read(text, "component 'a', norm").limits(SUPPORTS)
    assert "\n" not in str(told.value)


UNDEFINED = {
    "F / f": "character 5: a divisor that may be zero: by the priors 'f' lies in 0 to 1; change",
    "1 / (1 - f)": r"character 6: a divisor that may be zero: by the priors '1 - f' lies in 0 to 1",
    "log(f)": "character 5: the logarithm of a number that may be zero or less: by the priors 'f' lies in 0 to 1",
    "sqrt(x)": "character 6: the square root of a number that may be negative: by the priors 'x' lies in -2 to 3",
    "x ** F": "character 1: a number that may be negative, under a power that is no fixed whole number",
    "x ** exp(1000)": "character 1: a number that may be negative, under a power that is no fixed whole number",
    "f ** (0 - F)": "character 1: a number that may be zero, under a power that may be negative",
    "F - 10.5": "character 1: norm must be at least 0, and by the priors may be -10.4 to -0.5",
    "f - f * f": r"may be -1 to 1 \(worked out term by term: .*\); change the priors, write each name once, or put max",
}


@pytest.mark.parametrize("text", UNDEFINED)
def test_what_the_priors_do_not_allow_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"^component 'a', norm: '.*{UNDEFINED[text]}"):
        read(text, "component 'a', norm").require_between(SUPPORTS, 0.0, math.inf, "norm")


def uniform(low: float, high: float) -> Table:
    return {"prior": "uniform", "low": low, "high": high}


def fractional(table: Table) -> Table:
    """The model of a smooth and a point-like peak, by their sum and the share of the sources."""
    table["parameters"] |= {"F": {"prior": "loguniform", "low": 0.1, "high": 8.0}, "f": uniform(0.0, 1.0)}
    for name in ("S_peak", "Sps"):
        del table["parameters"][name]
    table["components"][1]["norm"], table["components"][2]["norm"] = "F * (1 - f)", "F * f"
    return table


def test_norms_as_expressions_are_the_norms(build: Callable[..., SkyModel], population_table: Table) -> None:
    plain = build(population_table)
    model = build(fractional(model_table := plain.spec.model_dump(mode="json", exclude_none=True)))
    shared = {"S_flat": 1.2, "n1": 3.0, "n2": 0.5, "sb": 7.0}
    here = model.point({**shared, "F": 2.0, "f": 0.3})
    there = plain.point({**shared, "S_peak": 1.4, "Sps": 0.6})
    np.testing.assert_allclose(model.log_likelihood(here), plain.log_likelihood(there), rtol=1e-14)
    slopes = jax.grad(model.log_likelihood)(here)
    smooth, sources = (jax.grad(plain.log_likelihood)(there)[name] for name in ("S_peak", "Sps"))
    np.testing.assert_allclose(slopes["F"], 0.7 * smooth + 0.3 * sources, rtol=1e-12)
    np.testing.assert_allclose(slopes["f"], 2.0 * (sources - smooth), rtol=1e-12)
    np.testing.assert_allclose(model.expectation.point_source_fractions(model.sky(here))["peak"], 0.3, rtol=1e-12)
    assert {"F", "f"} <= set(main_parameters(model.spec, model.latent))
    assert model.flux_axes.norms.tolist() == [model.latent.slots["S_flat"].start]
    np.testing.assert_allclose(model.mixture_fluxes(here), [1.4, 0.6], rtol=1e-14)
    assert "F * (1 - f)" in model._repr_html_()
    assert model_from_table(model_table) == model.spec  # as it is written, it is read


PLACES: dict[str, Callable[[Table, Any], None]] = {
    "norm": lambda t, v: t["components"][0].update(norm=v),
    "amplitude": lambda t, v: (t["components"][2].update(amplitude=v), t["components"][2].pop("norm")),
    "slopes": lambda t, v: t["components"][2]["source_counts"].update(slopes=["n1", v]),
    "breaks": lambda t, v: t["components"][2]["source_counts"].update(breaks=[20.0, v], slopes=["n1", 1.0, "n2"]),
    "shares": lambda t, v: t["components"][1].update(template={"mix": ["peak", "ring"], "fractions": v}),
    "nfw": lambda t, v: t["components"][1].update(template={"nfw": {"gamma": v}}),
    "disk": lambda t, v: t["components"][1].update(template={"disk": {"scale_height": v, "C": v, "B": v}}),
    "bar": lambda t, v: t["components"][1].update(template={"bar": {"length": v}}),
}


@pytest.mark.parametrize("place", PLACES)
def test_every_number_may_be_an_expression(place: str, build: Callable[..., SkyModel], population_table: Table) -> None:
    def model(value: Any, parameter: Table) -> SkyModel:
        table = model_from_table(population_table).model_dump(mode="json", exclude_none=True)
        table["parameters"] |= parameter
        PLACES[place](table, value)
        spec = model_from_table(table)
        used = {use.parameter for component in spec.components for use in component.uses()}
        return build({**table, "parameters": {k: v for k, v in table["parameters"].items() if k in used}})

    whole, half = model("whole", {"whole": uniform(0.5, 0.9)}), model("2 * half", {"half": uniform(0.25, 0.45)})
    z = jnp.asarray(np.random.default_rng(3).normal(size=whole.n_latent))
    assert float(whole.log_density(z)) == pytest.approx(float(half.log_density(z)), rel=1e-13)
    here, there = jax.grad(whole.log_density)(z), jax.grad(half.log_density)(z)
    np.testing.assert_allclose(here, there, rtol=1e-9, atol=1e-9)
    axis = whole.latent.slots["whole"].start
    assert abs(here[axis] + z[axis]) > 1e-6  # the likelihood depends on it


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (
            "norm",
            "F * (1 - ff)",
            "component 'flat', norm: 'F .*', character 10: unknown parameter 'ff'; did you mean 'f'",
        ),
        ("norm", "F / f", "component 'flat', norm: 'F / f', character 5: a divisor that may be zero"),
        ("norm", "f - F", "component 'flat', norm: 'f - F', character 1: norm must be at least 0"),
        ("norm", "-1", "component 'flat', norm: '-1', character 1: norm must be at least 0"),
        ("amplitude", "f - F", "component 'peak_ps', amplitude: 'f - F', .* amplitude must be at least 0"),
        ("slopes", "f.n", "component 'peak_ps', source_counts slopes: 'f.n', character 1: 'f.n' is not allowed"),
        ("breaks", "F / f", "component 'peak_ps', source_counts breaks: 'F / f', character 5"),
        ("breaks", "f * F", r"break 'f \* F' must be positive"),
        ("breaks", "30 * F", r"breaks out of order: '30 \* F' reaches 30, above the lowest '20.0'"),
        ("shares", "F + f", r"component 'peak', mix fractions: 'F \+ f', .* a share must be at most 1"),
        ("nfw", "gamm(f)", r"component 'peak', nfw gamma: 'gamm\(f\)', character 1: 'gamm\(f\)' is not allowed"),
        ("bar", "f / 2", "component 'peak', bar: 'f / 2', .* length of a bar must be at least 0.05"),
        ("disk", "q * 2", "component 'peak', disk scale_height: 'q .*', character 1: unknown parameter 'q'"),
    ],
)
def test_a_model_says_where(where: str, value: str, message: str, population_table: Table) -> None:
    population_table["parameters"] |= {"F": uniform(0.1, 1.0), "f": uniform(0.0, 1.0)}
    PLACES[where](population_table, value)
    with pytest.raises(InputError, match=message):
        parameter_labels(model_from_table(population_table))


def test_vectors_are_no_expressions(population_table: Table) -> None:
    population_table["parameters"]["Alm"] = uniform(-0.1, 0.1)
    modulation = {"l_max": 1, "coefficients": "2 * Alm"}
    population_table["components"][0]["template"] = {"map": "flat", "modulation": modulation}
    with pytest.raises(InputError, match=r"modulation: expected the name of one parameter, .* got '2 \* Alm'"):
        parameter_labels(model_from_table(population_table))
    population_table["components"][0]["template"] = {"mix": ["flat", "peak", "tilt"], "fractions": "1 - Alm"}
    with pytest.raises(InputError, match="mix: fractions of 3 templates are the name of a parameter with a dirichlet"):
        parameter_labels(model_from_table(population_table))
    population_table["components"][0] |= {"template": "flat", "norm": "2 * mixed"}
    population_table["parameters"]["mixed"] = {"prior": "dirichlet"}
    with pytest.raises(InputError, match="parameter 'mixed' has a dirichlet prior, expected a prior of a single num"):
        parameter_labels(model_from_table(population_table))


def test_a_name_that_reads_as_an_expression_is_refused(population_table: Table) -> None:
    population_table["parameters"]["S-flat"] = population_table["parameters"].pop("S_flat")
    population_table["components"][0]["norm"] = "S-flat"
    with pytest.raises(InputError, match="'S-flat' is the name of a parameter and reads as an expression; rename it"):
        parameter_labels(model_from_table(population_table))


def test_the_exponent_of_a_number_is_no_parameter() -> None:
    assert substituted("1e-3 * e + 2.E3*E", {"e": 0.5, "E": "F"}) == "1e-3 * (0.5) + 2.E3*F"


def test_null_hypotheses_see_through_expressions(build: Callable[..., SkyModel], population_table: Table) -> None:
    model = build(fractional(population_table))
    null = read_null(["f = 0"], model)
    assert null.loose == ("n1", "n2", "sb")  # there are no sources
    assert null.degrees == 1
    nested = build(nested_spec(model.spec, null).model_dump(mode="json", exclude_none=True))
    assert [component.name for component in nested.spec.components] == ["flat", "peak"]
    assert nested.spec.components[1].norm == "F * (1 - (0.0))"
    shared = {"S_flat": 1.2, "F": 2.0}
    there = model.point({**shared, "f": 0.0, "n1": 3.0, "n2": 0.5, "sb": 7.0})
    found = float(nested.log_likelihood(nested.point(shared)))
    np.testing.assert_allclose(found, model.log_likelihood(there), rtol=1e-12)
    with pytest.raises(InputError, match=r"its norm is the expression 'F \* f': give its parameters values"):
        read_null(["without peak_ps"], model)
