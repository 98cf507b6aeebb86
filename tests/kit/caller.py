"""A caller's audio as frames, and words in a form to compare."""

from pipecat.frames.frames import InputAudioRawFrame

FRAME_S = 0.02


def frames_of(pcm: bytes, rate_hz: int = 16_000) -> list[InputAudioRawFrame]:
    """Cut 16-bit mono sound into frames of 20 ms, as a line delivers it."""
    step = round(rate_hz * FRAME_S) * 2
    return [InputAudioRawFrame(pcm[at : at + step], rate_hz, 1) for at in range(0, len(pcm), step)]


def words(text: str) -> list[str]:
    """Return a text's words in lower case, without punctuation."""
    return "".join(item if item.isalnum() else " " for item in text.lower()).split()
