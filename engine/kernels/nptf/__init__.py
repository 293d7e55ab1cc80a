"""nptf kernels."""
