"""Ensembles of fits: one file of axes and choices, a campaign of its members, one answer."""
