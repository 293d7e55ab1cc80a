"""Likelihood, gradient and line-of-sight kernels: one folder per family, numbers in, numbers out."""
