"""FITS files from their bytes: read if they are whole, whatever keywords astropy would only warn of."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gammasky.engine.errors import InputError

DAMAGE = (OSError, ValueError, TypeError, KeyError, AttributeError)  # what astropy raises in a damaged file


@contextmanager
def open_fits(content: bytes, label: str) -> Iterator[Any]:
    """The extensions of a FITS file, as astropy's HDUList.

    Args:
        content: the bytes of the file.
        label: how errors name it.

    Raises:
        InputError: not a FITS file, or one that is shorter than its headers say.
    """
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # they are of keywords that readers are to ignore
        try:
            hdus = fits.open(io.BytesIO(content), memmap=False)
            _check_length(hdus, content)
        except DAMAGE as error:
            raise _damaged(label, error) from error
        try:
            yield hdus
        except fits.VerifyError as error:  # a card that only now was looked at
            raise _damaged(label, error) from error


def fits_extension(content: bytes, label: str, hdu: int | str) -> Any:
    """Read one extension of a FITS file.

    Raises:
        InputError: no such extension, or a file that `open_fits` refuses.
    """
    with open_fits(content, label) as hdus:
        return extension_of(hdus, label, hdu)


def extension_of(hdus: Any, label: str, hdu: int | str) -> Any:
    """Read one of the extensions of an open FITS file.

    Raises:
        InputError: there is none of that number or name.
    """
    try:
        extension = hdus[hdu]
    except (KeyError, IndexError):
        have = ", ".join(f"{number} ({extension.name})" for number, extension in enumerate(hdus))
        raise InputError(f"{label}: no extension {hdu!r}; the file has {have}") from None
    try:
        _ = extension.data, getattr(extension, "columns", None)
    except DAMAGE as error:
        raise _damaged(label, error) from error
    return extension


def _damaged(label: str, error: Exception) -> InputError:
    """Make one line of whatever astropy says of a damaged file."""
    reason = str(error).splitlines()[0].partition(". ")[0]  # what follows is advice to programmers
    return InputError(f"{label}: not a complete FITS file ({reason}); replace it by a whole one")


def _check_length(hdus: Any, content: bytes) -> None:
    """Refuse a file that ends within the data, or within the header, of an extension."""
    last = hdus[len(hdus) - 1]
    start, span = (last.fileinfo()[key] for key in ("datLoc", "datSpan"))
    if start + last.size > len(content):
        raise OSError(f"{len(content)} bytes of at least {start + last.size}")
    if content[start + span :].startswith(b"XTENSION"):
        raise OSError("the header of the last extension has no end")
