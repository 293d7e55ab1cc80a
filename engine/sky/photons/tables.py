"""Binary tables of FITS files, read in blocks of rows from a stream: a photon list may be larger than the memory.

Only what such lists hold is read: columns of fixed width. A file may be compressed by gzip, whatever its name.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError

UNIT = 2880  # FITS files are made of units of so many bytes
WIDTHS = {"L": 1, "X": 0, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
KINDS = {"L": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
DAMAGE = (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError)
BLOCK_ROWS = 1 << 16
Stream = io.BufferedReader | gzip.GzipFile


@dataclass(frozen=True)
class Column:
    """A column of a table: its place in a row, its letter and repetition, and what its header says of it."""

    name: str
    offset: int
    letter: str
    repeat: int
    unit: str
    zero: float


@dataclass(frozen=True, eq=False)
class StreamedTable:
    """An extension of a FITS file that holds a table, of which only the header was read.

    Args:
        path: the file.
        header: of the extension.
        start: byte (of the file without compression) at which the rows begin.
    """

    path: Path
    header: Any
    start: int

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.header["NAXIS2"])

    @property
    def columns(self) -> dict[str, Column]:
        """The columns by name, in capitals.

        Raises:
            InputError: a column of a kind that FITS does not know.
        """
        found, offset = {}, 0
        for number in range(1, int(self.header["TFIELDS"]) + 1):
            form = str(self.header[f"TFORM{number}"]).strip()
            digits = len(form) - len(form.lstrip("0123456789"))
            repeat, letter = int(form[:digits] or 1), form[digits : digits + 1].upper()
            if letter not in WIDTHS:
                raise InputError(f"{self.path}: column {number} has the unknown format '{form}'; correct TFORM{number}")
            name = str(self.header.get(f"TTYPE{number}", "")).strip().upper()
            unit = str(self.header.get(f"TUNIT{number}", "")).strip()
            zero = float(self.header.get(f"TZERO{number}", 0.0))
            if float(self.header.get(f"TSCAL{number}", 1.0)) != 1.0:
                raise InputError(f"{self.path}: column {name} is scaled (TSCAL{number}); expected plain numbers")
            found[name] = Column(name, offset, letter, repeat, unit, zero)
            offset += (repeat + 7) // 8 if letter == "X" else repeat * WIDTHS[letter]
        if offset != int(self.header["NAXIS1"]):
            raise InputError(f"{self.path}: its columns take {offset} bytes of a row of {self.header['NAXIS1']}")
        return found

    def blocks(self, names: Sequence[str], rows: int = BLOCK_ROWS) -> Iterator[dict[str, np.ndarray]]:
        """The columns `names`, `rows` rows at a time, as arrays of native numbers.

        Bits (`32X`, or `32L` as some programs write them) become whole numbers: the last bit counts 1.

        Raises:
            InputError: a column that is missing or of another kind, or a file that ends before its last row.
        """
        columns = [self._column(name) for name in names]
        width = int(self.header["NAXIS1"])
        with open_stream(self.path) as stream:
            _skip(stream, self.start, self.path)
            buffer = bytearray(min(rows, max(self.n_rows, 1)) * width)
            for first in range(0, self.n_rows, rows):
                here = memoryview(buffer)[: min(rows, self.n_rows - first) * width]
                _fill(stream, here, self.path)
                table = np.frombuffer(here, dtype=np.uint8).reshape(-1, width)
                yield {column.name: _values(table, column) for column in columns}

    def whole(self, *names: str) -> list[np.ndarray]:
        """Whole columns, for tables that fit in the memory."""
        parts = list(self.blocks(names))
        return [np.concatenate([part[name] for part in parts]) if parts else np.empty(0) for name in names]

    def _column(self, name: str) -> Column:
        columns = self.columns
        if name not in columns:
            told = ", ".join(columns) or "none"
            raise InputError(f"{self.path}: {self.header.get('EXTNAME')} has no column {name}; it has {told}")
        column = columns[name]
        bits = column.letter in "XL" and column.repeat in (8, 16, 32)
        if not bits and not (column.letter in KINDS and column.repeat == 1):
            form = f"{column.repeat}{column.letter}"
            raise InputError(f"{self.path}: column {name} has the format {form}; expected one number, or 32 bits")
        return column


def find_tables(path: Path) -> dict[str, StreamedTable]:
    """The tables of a FITS file by the name of their extension, in capitals.

    The whole file is passed by: one that ends early is refused.

    Raises:
        InputError: not a FITS file, a truncated one, or two tables of one name.
    """
    found: dict[str, StreamedTable] = {}
    with open_stream(path) as stream:
        while (header := _next_header(stream, path)) is not None:
            size = _data_size(header, path)
            if str(header.get("XTENSION", "")).strip() == "BINTABLE":
                name = str(header.get("EXTNAME", "")).strip().upper()
                if name in found:
                    raise InputError(f"{path}: two extensions are named {name}; remove one of them")
                found[name] = StreamedTable(path, header, stream.tell())
            _skip(stream, size, path)
            _read(stream, -size % UNIT, path)  # the rest of the unit, which some writers leave out at the end
    return found


@contextmanager
def open_stream(path: Path) -> Iterator[Stream]:
    """The bytes of a file, without its compression.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                yield file
                return
            with gzip.open(file, "rb") as stream:
                yield stream
    except FileNotFoundError:
        raise InputError(f"{path}: file not found; put it there, or correct its name") from None
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _next_header(stream: Stream, path: Path) -> Any:
    """The header that begins here, or None at the end of the file."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    text = b""
    while not any(text[card : card + 80].rstrip() == b"END" for card in range(max(len(text) - UNIT, 0), len(text), 80)):
        unit = _read(stream, UNIT, path)
        if not text and not unit.strip(b"\0 "):
            return None
        if len(unit) < UNIT or (not text and not unit.startswith((b"SIMPLE  =", b"XTENSION="))):
            raise _damaged(path, "not a header" if not text else "its header has no end")
        text += unit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # of keywords that nobody here reads
        try:
            return fits.Header.fromstring(text)
        except (ValueError, UnicodeDecodeError) as error:
            raise _damaged(path, error) from error


def _data_size(header: Any, path: Path) -> int:
    """Bytes of the data that follow a header."""
    try:
        axes = [int(header[f"NAXIS{number}"]) for number in range(1, int(header["NAXIS"]) + 1)]
        elements = math.prod(axes) if axes else 0
        pixel = abs(int(header["BITPIX"])) // 8
        return pixel * int(header.get("GCOUNT", 1)) * (int(header.get("PCOUNT", 0)) + elements)
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged(path, f"its header lacks {error}") from error


def _read(stream: Stream, size: int, path: Path) -> bytes:
    """At most `size` bytes."""
    try:
        return stream.read(size)
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _skip(stream: Stream, size: int, path: Path) -> None:
    """Pass `size` bytes, all of which must be there."""
    if isinstance(stream, gzip.GzipFile):
        while size and (part := _read(stream, min(size, 1 << 20), path)):
            size -= len(part)
        missing = size
    else:
        missing = stream.seek(size, os.SEEK_CUR) - os.fstat(stream.fileno()).st_size
    if missing > 0:
        raise _damaged(path, f"{missing} bytes are missing")


def _fill(stream: Stream, place: memoryview, path: Path) -> None:
    """Fill `place` from the stream."""
    done = 0
    while done < len(place):
        try:
            got = stream.readinto(place[done:])
        except DAMAGE as error:
            raise _damaged(path, error) from error
        if not got:
            raise _damaged(path, f"{len(place) - done} bytes are missing")
        done += got


def _damaged(path: Path, reason: object) -> InputError:
    """Make one line of what is wrong with a file."""
    told = str(reason).splitlines()[0] if str(reason) else "unreadable"
    return InputError(f"{path}: not a complete FITS file ({told}); replace it by a whole one")


def _values(table: np.ndarray, column: Column) -> np.ndarray:
    """The values of a column in rows of bytes (n, width), native."""
    if column.letter in "XL" and column.repeat > 1:
        return _bits(table, column)
    kind = np.dtype(KINDS[column.letter])
    raw = table[:, column.offset : column.offset + kind.itemsize].view(kind)[:, 0]
    if column.zero:
        return raw.astype(np.int64) + int(column.zero) if kind.kind in "iu" else raw + column.zero
    return raw.astype(kind.newbyteorder("="))


def _bits(table: np.ndarray, column: Column) -> np.ndarray:
    """Whole numbers from bits, the first of which counts most: packed (`32X`), or a letter T or F each (`32L`)."""
    if column.letter == "X":
        kind = np.dtype(f">u{column.repeat // 8}")
        return table[:, column.offset : column.offset + kind.itemsize].view(kind)[:, 0].astype(np.uint32)
    letters = table[:, column.offset : column.offset + column.repeat] == ord("T")
    packed = np.packbits(letters, axis=1)
    return packed.view(f">u{column.repeat // 8}")[:, 0].astype(np.uint32)
