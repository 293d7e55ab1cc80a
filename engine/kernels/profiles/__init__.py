"""profiles kernels."""
