"""Simulated skies: photon by photon, and from the likelihood's own distribution of counts."""
