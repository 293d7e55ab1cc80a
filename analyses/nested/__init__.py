"""Tests of nested models: a test statistic, its distribution on simulated skies of the null, and a p-value."""
