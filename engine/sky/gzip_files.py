"""Files that may be compressed by gzip."""

from __future__ import annotations

import gzip
import zlib

from gammasky.engine.errors import InputError


def unpacked(content: bytes, label: str) -> bytes:
    """The content of a file, which may be compressed by gzip.

    Raises:
        InputError: truncated.
    """
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{label}: not a complete .gz file ({error}); replace it by a whole one") from None
