"""EXIF into TIFF files, which libvips leaves out.

A TIFF's EXIF is not one block but tags of its first directory (TIFF 6.0, section 2; EXIF 3.0, section 4.6.3): the
descriptive ones directly, camera and place in directories of their own that it points to. Written files get a new
first directory at their end, so that no pixel is copied.
"""

from __future__ import annotations

import struct
from pathlib import Path

from repix.errors import InputError
from repix.io import exif


def add_exif(path: Path, block: bytes) -> None:
    """Add the tags of an EXIF block to a TIFF file.

    Args:
        path: a classic, little-endian TIFF; changed in place.
        block: an EXIF block.

    Raises:
        InputError: the file is of another kind, or the block is damaged; the file is as it was.
        OSError: the file cannot be written; it may be damaged.
    """
    directories = exif.read_directories(exif.strip_header(block))
    if not directories:
        raise InputError(f"{path}: damaged EXIF block")
    with path.open("r+b") as file:
        header = file.read(8)
        if header[:4] != b"II*\0":
            raise InputError(f"{path}: not a classic little-endian TIFF")
        (first,) = struct.unpack("<I", header[4:8])
        file.seek(first)
        (count,) = struct.unpack("<H", file.read(2))
        entries = {}
        for _ in range(count):
            entry = file.read(12)
            entries[struct.unpack_from("<H", entry)[0]] = entry
        end = file.seek(0, 2)
        padding = bytes(end % 2)
        added, appended = exif.to_entries(directories, end + len(padding))
        entries |= added
        start = end + len(padding) + len(appended)
        rows = b"".join(entries[tag] for tag in sorted(entries))
        if start + len(rows) + 6 >= 2**32:
            raise InputError(f"{path}: no room for EXIF within 4 GB")
        file.write(padding + appended + struct.pack("<H", len(entries)) + rows + bytes(4))
        file.seek(4)
        file.write(struct.pack("<I", start))
