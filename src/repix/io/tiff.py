"""EXIF into and out of TIFF files, which libvips leaves behind.

A TIFF's EXIF is not one block but tags of its first directory (TIFF 6.0, section 2; EXIF 2.32, section 4.6.3): the
descriptive ones directly, camera and place in directories of their own that it points to. Written files get a new
first directory at their end, so that no pixel is copied.
"""

from __future__ import annotations

import struct
import threading
import warnings
from pathlib import Path

from repix.errors import InputError

_DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)  # description … artist, copyright; all text
_CAMERA, _PLACE = 0x8769, 0x8825
_INTEROPERABILITY = 0xA005  # points into the old file
_filters = threading.Lock()  # Python's warning filters belong to all threads


def read_exif(path: Path) -> bytes | None:
    """The EXIF tags of a TIFF as the block that JPEG, PNG and WebP carry, or None where it has none or damaged ones."""
    from PIL import Image
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        with _filters, warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            header = file.read(8)
            if 43 in header[2:4]:  # BigTIFF
                header += file.read(8)
            tags = ImageFileDirectory_v2(header)
            file.seek(tags.next)
            tags.load(file)
            exif = Image.Exif()
            for tag in _DESCRIPTIVE:
                if tag in tags:
                    exif[tag] = tags[tag]
            for pointer in (_CAMERA, _PLACE):
                if pointer in tags:
                    directory = ImageFileDirectory_v2(header)
                    file.seek(tags[pointer])
                    directory.load(file)
                    exif[pointer] = {tag: directory[tag] for tag in directory if tag != _INTEROPERABILITY}
            return exif.tobytes() if len(exif) else None
    except Exception:  # whatever is wrong with the tags, the image is still good
        return None


def add_exif(path: Path, block: bytes) -> None:
    """Add the tags of an EXIF block to a TIFF file.

    Args:
        path: a classic, little-endian TIFF; changed in place.
        block: what `read_exif` gives.

    Raises:
        InputError: the file is of another kind, or the block is damaged; the file is as it was.
        OSError: the file cannot be written; it may be damaged.
    """
    from PIL import Image
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

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
        appended = bytearray(end % 2)
        try:
            with _filters, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exif = Image.Exif()
                exif.load(block)
                for tag in _DESCRIPTIVE:
                    text = exif.get(tag)
                    if isinstance(text, str):
                        value = text.encode() + b"\0"
                        short = len(value) <= 4
                        place = value.ljust(4, b"\0") if short else struct.pack("<I", end + len(appended))
                        entries[tag] = struct.pack("<HHI", tag, 2, len(value)) + place
                        appended += b"" if short else value + bytes(len(value) % 2)
                for pointer in (_CAMERA, _PLACE):
                    directory = ImageFileDirectory_v2(b"II*\0\0\0\0\0")
                    for tag, content in exif.get_ifd(pointer).items():
                        if tag != _INTEROPERABILITY:
                            directory[tag] = content
                    if len(directory):
                        entries[pointer] = struct.pack("<HHII", pointer, 4, 1, end + len(appended))
                        appended += directory.tobytes(end + len(appended))
                        appended += bytes(len(appended) % 2)
        except Exception as error:
            raise InputError(f"{path}: damaged EXIF block ({error})") from error
        start = end + len(appended)
        appended += struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
        file.write(appended)
        file.seek(4)
        file.write(struct.pack("<I", start))
