"""What the headers of a FITS file say of the cuts and times that it was made with."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from gammasky.engine.files import read_bytes
from gammasky.engine.sky.fits_files import open_fits
from gammasky.engine.sky.gzip_files import unpacked
from gammasky.engine.sky.photons.intervals import Intervals
from gammasky.engine.sky.photons.selection import Selection
from gammasky.engine.sky.statements import column_in

VERSION = re.compile(r"VERSION\((\w+)\)")


def selection_in(content: bytes, label: str) -> Selection:
    """The cuts that the headers of an unpacked FITS file tell of.

    Raises:
        InputError: not a FITS file, or keywords that cannot be read.
    """
    with open_fits(content, label) as hdus:
        return Selection.in_headers([hdu.header for hdu in hdus], label)


def times_in(content: bytes, label: str) -> Intervals | None:
    """The good times of an unpacked FITS file; None where it has no extension GTI.

    Raises:
        InputError: an extension that holds none.
    """
    with open_fits(content, label) as hdus:
        if "GTI" not in hdus:
            return None
        start, stop = (column_in(hdus["GTI"], name, "s", label) for name in ("START", "STOP"))
        return Intervals.of(np.ravel(start), np.ravel(stop), label)


def response_version(path: Path) -> str | None:
    """The name of the response that a file is of, such as "P8R3_SOURCE_V3"; None where it does not say it."""
    label = str(path)
    with open_fits(unpacked(read_bytes(path), label), label) as hdus:
        values = [str(value) for hdu in hdus for key, value in hdu.header.items() if key.startswith("CBD")]
    found = {match[1] for value in values if (match := VERSION.search(value))}
    return found.pop() if len(found) == 1 else None
