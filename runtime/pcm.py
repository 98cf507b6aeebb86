"""The form of audio in Holdline: PCM of 16-bit little-endian samples."""

from typing import Final

SAMPLE_BYTES: Final = 2
