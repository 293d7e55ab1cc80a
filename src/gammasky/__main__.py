"""`python -m gammasky`: the command line."""

from gammasky.cli import command

if __name__ == "__main__":
    command()
