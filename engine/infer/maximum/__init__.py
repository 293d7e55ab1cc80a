"""Maxima of the likelihood: of a model, of models nested in it, and along a number of interest."""
