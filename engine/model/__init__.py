"""Sky models: templates, source-count functions and priors joined into one log density."""
