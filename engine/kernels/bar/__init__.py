"""Line-of-sight integrals of a triaxial bar: geometry, kernels with derivatives, and the JAX operation."""
