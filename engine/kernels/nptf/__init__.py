"""Non-Poissonian template fitting: the likelihood of pixel counts with unresolved point sources."""
