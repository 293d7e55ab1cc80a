"""Search for the best settings of what is done in steps: Optuna proposes, a runner works, bad trials end early."""
