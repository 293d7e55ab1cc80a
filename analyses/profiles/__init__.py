"""Profile likelihoods of one number, and limits on it."""
