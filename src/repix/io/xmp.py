"""XMP packets: their properties for comparing, and what new pixels make wrong taken out, all else byte for byte."""

from __future__ import annotations

import re
from xml.parsers import expat

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_MOST_BYTES = 8 * 2**20
_MOST_PROPERTIES = 20_000
_CLAIMS = {
    "http://ns.adobe.com/hdr-gain-map/1.0/": r"[\w.-]+",
    "http://ns.apple.com/HDRGainMap/1.0/": r"[\w.-]+",
    "http://ns.google.com/photos/1.0/camera/": r"(?:MotionPhoto|MicroVideo)[\w.-]*",
    "http://ns.google.com/photos/1.0/container/": r"[\w.-]+",
    "http://ns.google.com/photos/1.0/container/item/": r"[\w.-]+",
}
"""Names, by their namespace, that promise further images or a video behind the image."""
_EXTENDED = {"http://ns.adobe.com/xmp/note/": r"HasExtendedXMP"}
_DERIVED = {
    "http://ns.adobe.com/tiff/1.0/": {"Orientation", "ImageWidth", "ImageLength", "XResolution", "YResolution"},
    "http://ns.adobe.com/exif/1.0/": {"PixelXDimension", "PixelYDimension"},
    "http://ns.adobe.com/xap/1.0/": {"Thumbnails"},
    "http://ns.adobe.com/xmp/note/": {"HasExtendedXMP"},
}
"""Names that follow from the pixels or the container; no loss."""


class _TooMuchError(ValueError):
    pass


def properties(packet: bytes) -> dict[str, tuple[str, ...]] | None:
    """The properties of a packet: `prefix:name` of the outermost -> every text and attribute in it, in order.

    None where the packet is not XML, too long, or declares entities, with which a small file becomes a large one.
    """
    if len(packet) > _MOST_BYTES:
        return None
    found: dict[str, list[str]] = {}
    prefixes: dict[str, str] = {"http://www.w3.org/XML/1998/namespace": "xml"}
    path: list[tuple[str, str]] = []
    depth_of: list[str | None] = []

    def name_of(qualified: str) -> tuple[str, str]:
        uri, _, local = qualified.rpartition(" ")
        return uri, local

    def add(uri: str, local: str, text: str) -> None:
        claimed = uri in _CLAIMS and re.fullmatch(_CLAIMS[uri], local)
        if uri == RDF or claimed or local in _DERIVED.get(uri, ()):
            return
        if len(found) >= _MOST_PROPERTIES:
            raise _TooMuchError
        found.setdefault(f"{prefixes.get(uri) or uri}:{local}", []).append(text)

    def start(qualified: str, attributes: dict[str, str]) -> None:
        uri, local = name_of(qualified)
        if len(path) > 200:
            raise _TooMuchError
        outer = next((key for key in depth_of if key is not None), None)
        own = None
        if outer is None and uri not in (RDF, "adobe:ns:meta/"):
            own = qualified
            add(uri, local, "")
        path.append((uri, local))
        depth_of.append(own)
        holder = outer or own
        for key, text in attributes.items():
            here = name_of(key)
            if holder is not None:
                add(*name_of(holder), f"{here[1]}={text}")
            elif here[0] not in (RDF, "", "adobe:ns:meta/"):
                add(*here, text)

    def end(_: str) -> None:
        path.pop()
        depth_of.pop()

    def text(content: str) -> None:
        holder = next((key for key in depth_of if key is not None), None)
        if holder is not None and content.strip():
            add(*name_of(holder), content.strip())

    def refuse(*_: object) -> None:
        raise _TooMuchError

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartNamespaceDeclHandler = lambda prefix, uri: prefixes.setdefault(uri, prefix or "")
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(packet.strip(b"\0 \r\n\t"), True)
    except (expat.ExpatError, _TooMuchError, ValueError):
        return None
    return {key: tuple(part for part in parts if part) for key, parts in found.items()}


def claims(packet: bytes) -> bool:
    """Whether a packet promises further images or a video behind the image."""
    return any(_pattern(packet, uri, name) is not None for uri, name in _CLAIMS.items())


def adapt(packet: bytes, *, extended: bool) -> bytes | None:
    """A packet for new upright pixels in a file of one image: orientation 1, and no promise of what is not there.

    Args:
        packet: as it was.
        extended: whether the extended part goes into the new file too.

    Returns:
        The packet; None where a promise could not be taken out, so that it must not be written.
    """
    changed = re.sub(rb"(tiff:Orientation(?:\s*=\s*[\"']|>))[2-8]", rb"\g<1>1", packet)
    for uri, name in (_CLAIMS if extended else _CLAIMS | _EXTENDED).items():
        if (pattern := _pattern(changed, uri, name)) is not None:
            changed = pattern.sub(b"", changed)
    if changed != packet and properties(packet) is not None and properties(changed) is None:
        return None
    return None if claims(changed) else changed


def _pattern(packet: bytes, uri: str, name: str) -> re.Pattern[bytes] | None:
    """What matches attributes and elements of a namespace in a packet; None where there is none of them."""
    found = re.search(rb"xmlns:([\w.-]+)\s*=\s*[\"']" + re.escape(uri.encode()) + rb"[\"']", packet)
    if found is None:
        return None
    full = re.escape(found[1]) + b":" + name.encode()
    attribute = rb"\s" + full + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')"
    # the outermost element goes with all that is in it; an empty one ends itself
    element = rb"<(" + full + rb")(?:\s[^<>]*)?(?:/>|(?<!/)>.*?</\1\s*>)"
    pattern = re.compile(attribute + b"|" + element, re.DOTALL)
    return pattern if pattern.search(packet) else None
