"""The joint likelihood of a pixel's counts in several energy bins: one population of sources seen in all of them."""
