"""`python -m gammasky`: the command line."""

from gammasky.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
