"""poisson kernels."""
