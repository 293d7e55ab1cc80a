"""A model of two maps of the tiny sky without point sources, which more than one room tests."""

MODEL = """
name = "smooth"
region = { latitude_min = 2.0, radius_max = 20.0, mask = "spot", exposure_regions = 1 }
[parameters]
S_flat = { prior = "uniform", low = 0.5, high = 6.0 }
S_peak = { prior = "uniform", low = 0.0, high = 9.0 }
[[components]]
name = "flat"
norm = "S_flat"
template = "flat"
[[components]]
name = "peak"
norm = "S_peak"
template = "peak"
"""
