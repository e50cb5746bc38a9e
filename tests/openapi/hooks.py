"""What schemathesis cannot guess: files that are pictures."""

import struct
import zlib

import schemathesis
from hypothesis import strategies as st


def png(width, height, shade):
    """A small grey picture (PNG 3rd edition)."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([shade]) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


pictures = st.builds(png, st.integers(1, 8), st.integers(1, 8), st.integers(0, 255))
schemathesis.openapi.format("binary", pictures)
schemathesis.openapi.media_type("image/*", pictures)
