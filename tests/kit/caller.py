"""A caller's sound and words."""

from pipecat.frames.frames import InputAudioRawFrame

FRAME_S = 0.02


def frames_of(pcm: bytes, rate_hz: int = 16_000) -> list[InputAudioRawFrame]:
    """Cut sound into the frames in which a line brings it."""
    step = round(rate_hz * FRAME_S) * 2
    return [InputAudioRawFrame(pcm[at : at + step], rate_hz, 1) for at in range(0, len(pcm), step)]


def words(text: str) -> list[str]:
    """Return a text's words without case and punctuation."""
    return "".join(item if item.isalnum() else " " for item in text.lower()).split()
