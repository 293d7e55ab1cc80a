"""Simulation-based calibration: known truths, simulated skies, fits, and how the truths rank among the draws."""
