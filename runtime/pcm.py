"""The form of audio in Holdline: PCM of 16-bit little-endian samples."""

from typing import Final

SAMPLE_BYTES: Final = 2
AUDIBLE: Final = 164  # of 32768, about -46 dBFS: below any syllable, above a codec's noise
