"""Campaigns of fits on a cluster. Knows nothing of photons."""
