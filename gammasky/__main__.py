"""`python -m gammasky`: the command line."""

from gammasky.cli import main

raise SystemExit(main())
