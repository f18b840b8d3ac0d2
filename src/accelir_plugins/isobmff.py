"""HEIF and AVIF stills: what lies around the coded picture (ISO/IEC 14496-12 boxes, 23008-12 items).

A file is a list of items (a coded picture, a grid of them, EXIF, XMP), each with properties (size, colour, how to set
the decoder up). `read` and `write` go between that and bytes; `embed` adds metadata to any such file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from accelir.errors import CodecError, DecodeError
from accelir.metadata import Metadata

__all__ = ["Item", "Property", "Still", "box", "boxes", "colour", "crop", "depth", "embed", "full_box", "grid", "read"]
__all__ += ["size", "write"]

_XMP_TYPE = b"\0application/rdf+xml\0"

# No offset into a file goes further here.
_ROOM = 2**32 - 1
_LARGEST_NUMBER = 2**16 - 1

# Boxes of `meta` that `Still` has fields for.
_KNOWN = {b"hdlr", b"pitm", b"iloc", b"iinf", b"iref", b"iprp", b"idat"}


@dataclass(frozen=True)
class Property:
    """What is said of an item.

    Attributes:
        box: The whole box.
        essential: Whether a reader that does not know it has to leave the item alone.
    """

    box: bytes
    essential: bool = False


@dataclass(frozen=True)
class Item:
    """A part of a file.

    Attributes:
        number: Its identifier, 1..65535.
        kind: Four letters, for example ``b"hvc1"``, ``b"av01"``, ``b"grid"``, ``b"Exif"``.
        data: Its bytes.
        properties: What is said of it; what changes the picture (cropping, turning) in the order of doing so.
        references: Kinds of reference and the items referred to.
        hidden: Whether it is not to be shown by itself, as the tiles of a grid.
        label: The name, and what follows it for the kind, as ``infe`` has them.
    """

    number: int
    kind: bytes
    data: bytes
    properties: tuple[Property, ...] = ()
    references: tuple[tuple[bytes, tuple[int, ...]], ...] = ()
    hidden: bool = False
    label: bytes = b"\0"


@dataclass(frozen=True)
class Still:
    """A file.

    Attributes:
        brands: The major brand (four letters), then those compatible.
        items: In the order of their bytes.
        primary: The number of the item that is the picture.
        others: Whole boxes of ``meta`` that nothing here has to know.
    """

    brands: tuple[bytes, ...]
    items: tuple[Item, ...]
    primary: int = 1
    others: tuple[bytes, ...] = ()


def box(kind: bytes, *contents: bytes) -> bytes:
    """A box of four letters and its contents."""
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, version: int, flags: int, *contents: bytes) -> bytes:
    """A box that starts with a version and 24 flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *contents)


def boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The boxes that lie one after the other in some bytes.

    Yields:
        Kind, start and end of the contents. What follows the size of a long box, or ``uuid``, counts as contents.

    Raises:
        DecodeError: A box reaches beyond the end.
    """
    at = 0
    while at < len(data):
        length, kind, start = _number(data, at, 4), data[at + 4 : at + 8], at + 8
        if length == 1:
            length, start = _number(data, start, 8), start + 8
        end = at + length if length else len(data)
        if end < start or end > len(data):
            raise DecodeError(f"Box {kind!r} at byte {at} takes {length} bytes, of which {len(data) - at} are there.")
        yield kind, start, end
        at = end


def size(width: int, height: int) -> Property:
    """Of the decoded picture in pixels, before any cropping."""
    return Property(full_box(b"ispe", 0, 0, struct.pack(">II", width, height)))


def depth(channels: int, bits: int = 8) -> Property:
    """Bits of each channel."""
    return Property(full_box(b"pixi", 0, 0, bytes([channels, *[bits] * channels])))


def colour(primaries: int, transfer: int, matrix: int, *, full_range: bool) -> Property:
    """By the numbers of ITU-T H.273; 1, 13, 6 are sRGB as BT.601 luma and chroma."""
    return Property(box(b"colr", b"nclx", struct.pack(">HHHB", primaries, transfer, matrix, full_range << 7)))


def crop(coded: tuple[int, int], shown: tuple[int, int]) -> Property:
    """Only the upper left part is shown; widths and heights in pixels."""
    # From the centre of the coded to that of the shown picture, in halves of a pixel.
    across, down = (part - whole for whole, part in zip(coded, shown, strict=True))
    return Property(
        box(b"clap", struct.pack(">IIIIiIiI", shown[0], 1, shown[1], 1, across, 2, down, 2)), essential=True
    )


def grid(rows: int, columns: int, width: int, height: int) -> bytes:
    """The data of a ``grid`` item: its tiles are those that it refers to by ``dimg``, row by row."""
    return struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)


def write(still: Still) -> bytes:
    """The file: one ``mdat`` behind all that describes it.

    Raises:
        CodecError: The items take 4 GiB or more, or have numbers of more than 16 bits.
    """
    major, *compatible = still.brands
    head = box(b"ftyp", major, bytes(4), *compatible)
    if max((item.number for item in still.items), default=0) > _LARGEST_NUMBER:
        raise CodecError(f"Items of numbers above {_LARGEST_NUMBER} are not written here.")
    total = sum(len(item.data) for item in still.items)
    start = len(head) + len(_meta(still, 0)) + 8
    if start + total > _ROOM:
        raise CodecError(f"A HEIF or AVIF file of {start + total} bytes: more than {_ROOM} are not written here.")
    return head + _meta(still, start) + box(b"mdat", *(item.data for item in still.items))


def read(data: bytes) -> Still:
    """What a file consists of.

    Raises:
        DecodeError: It is no HEIF or AVIF still, or is damaged.
    """
    top = {kind: data[start:end] for kind, start, end in reversed(list(boxes(data)))}
    if b"ftyp" not in top or b"meta" not in top:
        raise DecodeError("Not a HEIF or AVIF file: no 'ftyp' or no 'meta' box.")
    meta = top[b"meta"][4:]
    found = list(boxes(meta))
    parts = {kind: meta[start:end] for kind, start, end in found}
    for kind in (b"pitm", b"iloc", b"iinf", b"iprp"):
        if kind not in parts:
            raise DecodeError(f"Not a HEIF or AVIF still: it has no {kind.decode()!r} box.")
    brands = top[b"ftyp"]
    wide = parts[b"pitm"][0] > 0 if parts[b"pitm"] else False
    places = dict(_places(parts[b"iloc"], data, parts.get(b"idat", b"")))
    properties = dict(_associations(parts[b"iprp"]))
    references = list(_references(parts.get(b"iref", bytes(4))))
    items = tuple(
        replace(
            item,
            data=places.get(item.number, b""),
            properties=properties.get(item.number, ()),
            references=tuple((kind, to) for source, kind, to in references if source == item.number),
        )
        for item in _entries(parts[b"iinf"])
    )
    return Still(
        brands=(brands[:4], *(brands[at : at + 4] for at in range(8, len(brands), 4))),
        items=items,
        primary=_number(parts[b"pitm"], 4, 4 if wide else 2),
        others=tuple(box(kind, meta[start:end]) for kind, start, end in found if kind not in _KNOWN),
    )


def embed(data: bytes, metadata: Metadata) -> bytes:
    """A file with EXIF, XMP and a colour profile of the picture; its pixels stay as they lie.

    Args:
        data: A HEIF or AVIF still without them.
        metadata: Not empty.

    Raises:
        DecodeError: It is no such file.
        CodecError: It would be too large.
    """
    still = read(data)
    items = list(still.items)
    describes = ((b"cdsc", (still.primary,)),)
    free = max((item.number for item in items), default=0) + 1
    if metadata.exif:
        # The TIFF header follows at once.
        items.append(Item(free, b"Exif", bytes(4) + metadata.exif, references=describes))
        free += 1
    if metadata.xmp:
        items.append(Item(free, b"mime", metadata.xmp, references=describes, label=_XMP_TYPE))
    if metadata.icc:
        profile = Property(box(b"colr", b"prof", metadata.icc))
        # Of two descriptions of colour, readers that heed one take the first.
        items = [
            replace(item, properties=_before_transforms(item.properties, profile))
            if item.number == still.primary
            else item
            for item in items
        ]
    return write(replace(still, items=tuple(items)))


def _before_transforms(properties: tuple[Property, ...], added: Property) -> tuple[Property, ...]:
    """What describes comes before what transforms."""
    count = sum(1 for entry in properties if entry.box[4:8] not in (b"clap", b"irot", b"imir"))
    return (*properties[:count], added, *properties[count:])


def _meta(still: Still, start: int) -> bytes:
    """The box of all descriptions, the items' bytes starting at an offset."""
    handler = full_box(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13))
    primary = full_box(b"pitm", 0, 0, struct.pack(">H", still.primary))
    # Offsets and lengths of four bytes, one extent each.
    locations = struct.pack(">BBH", 0x44, 0, len(still.items))
    entries = b""
    for item in still.items:
        locations += struct.pack(">HHHII", item.number, 0, 1, start, len(item.data))
        start += len(item.data)
        entries += full_box(b"infe", 2, int(item.hidden), struct.pack(">HH4s", item.number, 0, item.kind), item.label)
    references = b"".join(
        box(kind, struct.pack(f">HH{len(to)}H", item.number, len(to), *to))
        for item in still.items
        for kind, to in item.references
    )
    return full_box(
        b"meta",
        0,
        0,
        handler,
        primary,
        full_box(b"iloc", 0, 0, locations),
        full_box(b"iinf", 0, 0, struct.pack(">H", len(still.items)), entries),
        full_box(b"iref", 0, 0, references) if references else b"",
        _properties(still.items),
        *still.others,
    )


def _properties(items: Sequence[Item]) -> bytes:
    """Each property once, and which items have it."""
    known = list(dict.fromkeys(entry.box for item in items for entry in item.properties))
    numbers = {content: number for number, content in enumerate(known, 1)}
    # One byte for each where that is enough.
    wide = len(known) > 127
    form, mark = (">H", 0x8000) if wide else (">B", 0x80)
    described = [item for item in items if item.properties]
    associations = b"".join(
        struct.pack(">HB", item.number, len(item.properties))
        + b"".join(struct.pack(form, numbers[entry.box] | mark * entry.essential) for entry in item.properties)
        for item in sorted(described, key=lambda item: item.number)
    )
    container = box(b"ipco", *known)
    return box(b"iprp", container, full_box(b"ipma", 0, int(wide), struct.pack(">I", len(described)), associations))


def _entries(content: bytes) -> Iterator[Item]:
    """The items of ``iinf``, without data."""
    content = content[8 if content[:1] > b"\0" else 6 :]
    for kind, start, end in boxes(content):
        entry = content[start:end]
        if kind != b"infe" or entry[:1] not in (b"\2", b"\3"):
            raise DecodeError("An item is described in a way that HEIF has not.")
        width = 2 if entry[0] == 2 else 4
        rest = entry[6 + width :]
        yield Item(_number(entry, 4, width), rest[:4], b"", hidden=bool(entry[3] & 1), label=rest[4:])


def _places(content: bytes, data: bytes, inner: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and bytes of the items."""
    reader = _Reader(content)
    version = reader.number(1)
    reader.number(3)
    widths = reader.number(2)
    offset_width, length_width, base_width, index_width = (widths >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(reader.number(4 if version == 2 else 2)):
        number = reader.number(4 if version == 2 else 2)
        method = reader.number(2) & 15 if version else 0
        reader.number(2)
        base = reader.number(base_width)
        source = {0: data, 1: inner}.get(method)
        if source is None:
            raise DecodeError("An item is made of parts of others: not read here.")
        parts = []
        for _ in range(reader.number(2)):
            if version:
                reader.number(index_width)
            start = base + reader.number(offset_width)
            length = reader.number(length_width)
            if start + length > len(source):
                raise DecodeError(f"Item {number} reaches beyond the end of the file.")
            parts.append(source[start : start + length] if length else source[start:])
        yield number, b"".join(parts)


def _associations(content: bytes) -> Iterator[tuple[int, tuple[Property, ...]]]:
    """Numbers and properties of the items."""
    known: list[bytes] = []
    for kind, start, end in boxes(content):
        if kind == b"ipco":
            inside = content[start:end]
            known = [box(inner, inside[first:last]) for inner, first, last in boxes(inside)]
        if kind != b"ipma":
            continue
        reader = _Reader(content[start:end])
        version, flags = reader.number(1), reader.number(3)
        for _ in range(reader.number(4)):
            item = reader.number(4 if version else 2)
            entries = [reader.number(2 if flags & 1 else 1) for _ in range(reader.number(1))]
            mark = 0x8000 if flags & 1 else 0x80
            if any((entry & ~mark) > len(known) for entry in entries):
                raise DecodeError(f"Item {item} has a property that is not there.")
            yield (
                item,
                tuple(Property(known[(entry & ~mark) - 1], bool(entry & mark)) for entry in entries if entry & ~mark),
            )


def _references(content: bytes) -> Iterator[tuple[int, bytes, tuple[int, ...]]]:
    """From which item, of what kind, to which."""
    width = 4 if content[:1] == b"\1" else 2
    for kind, start, end in boxes(content[4:]):
        reader = _Reader(content[4:][start:end])
        source = reader.number(width)
        yield source, kind, tuple(reader.number(width) for _ in range(reader.number(2)))


class _Reader:
    """Numbers one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, width: int) -> int:
        """The next, of so many bytes; 0 of none."""
        self._at += width
        return _number(self._data, self._at - width, width)


def _number(data: bytes, at: int, width: int) -> int:
    """Big-endian."""
    if at + width > len(data):
        raise DecodeError("A HEIF or AVIF file ends within a box.")
    return int.from_bytes(data[at : at + width], "big")
