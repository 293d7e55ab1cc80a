"""The command line `gammasky`.

Commands live in `gammasky.commands`, one file each, and import the engine only when they run: `--help` answers at once.
What a user can act on ends in one line on stderr: exit code 2 for input, options and file-system trouble, 130 for
Ctrl-C or SIGTERM, within two seconds whatever is going on. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from gammasky import __version__
from gammasky.commands.bench import bench
from gammasky.commands.calibrate import calibrate
from gammasky.commands.campaign import campaign
from gammasky.commands.cite import cite
from gammasky.commands.compare import compare
from gammasky.commands.dark_matter import dark_matter
from gammasky.commands.data import data
from gammasky.commands.doctor import doctor
from gammasky.commands.fit import fit
from gammasky.commands.honest import honest
from gammasky.commands.init import init
from gammasky.commands.loglike import loglike
from gammasky.commands.models import models
from gammasky.commands.nested import nested
from gammasky.commands.options import in_options
from gammasky.commands.profile import profile
from gammasky.commands.report import report
from gammasky.commands.schema import schema
from gammasky.commands.simulate import simulate
from gammasky.commands.study import study
from gammasky.commands.tune import tune
from gammasky.commands.watch import INTERRUPTED, answered, leave
from gammasky.engine.errors import GammaskyError

FILE_REMEDIES = {
    errno.ENOSPC: "free some space or choose a folder on another disk",
    errno.EDQUOT: "free some space or choose a folder on another disk",
    errno.EACCES: "check its permissions or choose another folder",
    errno.EPERM: "check its permissions or choose another folder",
    errno.EROFS: "choose a folder that can be written to",
    errno.ENOTDIR: "a part of the path is a file: choose another path",
    errno.EEXIST: "something else of that name is in the way: choose another path",
    errno.EISDIR: "expected a file, got a folder: choose another path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ENOENT: "its folder is not there or takes no files: choose another path",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="gammasky")
def cli() -> None:
    """Differentiable template fits of the gamma-ray sky, from photon counts to posteriors."""


for _command in (
    init, fit, honest, report, compare, campaign, study, simulate, calibrate, nested, profile, dark_matter, tune,
    loglike, cite, data, bench, models, schema, doctor,
):  # fmt: skip
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with answered():
            status = cli.main(args=given, prog_name="gammasky", standalone_mode=False)
    except GammaskyError as error:
        return _report(in_options(str(error), _command_of(given)), 2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "gammasky"
        return _report(f"{error.format_message()} (see '{command} --help')", 2)
    except click.Abort as error:
        # click turns EOFError into Abort too; that one is a bug here, since no command reads the terminal
        if isinstance(error.__cause__, EOFError):
            raise error.__cause__ from None
        return _report("interrupted", INTERRUPTED)
    except KeyboardInterrupt:
        return _report("interrupted", INTERRUPTED)
    except OSError as error:
        if error.errno not in FILE_REMEDIES:
            raise
        return _report(_file_trouble(error), 2)
    return status if isinstance(status, int) else 0


def command() -> NoReturn:
    """Run the command line as it is installed: end the process with the exit code."""
    leave(main())


def _command_of(words: Sequence[str]) -> click.Command:
    """The command that these words call."""
    command: click.Command = cli
    for word in words:
        if isinstance(command, click.Group):
            command = command.commands.get(word, command)
    return command


def _file_trouble(error: OSError) -> str:
    """What the file system refused, where, and what to do about it."""
    where = f" '{error.filename}'" if error.filename else ""
    return f"file{where}: {error.strerror or error}; {FILE_REMEDIES[error.errno or 0]}"


def _report(message: str, exit_code: int) -> int:
    """Print one line on stderr, whatever line breaks the message holds."""
    click.echo(f"gammasky: error: {' '.join(message.split())}", err=True)
    return exit_code
