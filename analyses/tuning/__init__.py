"""Search for the best settings of a variational fit, and for the model that the data favour."""
