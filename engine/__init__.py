"""The engine: photon counts in, posteriors out. Knows nothing of campaigns or studies."""
