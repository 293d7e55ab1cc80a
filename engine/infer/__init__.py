"""Inference: optimisation, Laplace, guides, variational fits, posterior files and figures."""
