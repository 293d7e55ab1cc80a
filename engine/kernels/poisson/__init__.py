"""Poisson likelihood of pixel counts."""
