"""From dN/dS to the numbers of sources by photons in a pixel: the response matrix, and its products."""
