"""How methods do their work: each in bounded pieces, with a checkpoint between any two, ending in a `Fit`."""
