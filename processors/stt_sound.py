"""The caller's sound as frames, and what of their words was passed on already."""

from typing import Final, TypeAlias

from pipecat.frames.frames import (
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
)

from fallbacks.replay import SoundRing, Transcripts
from processors.stt_reading import Reading

LOUD: Final = 0.03  # of the loudest sample: 30 dB below it is no word's beginning (chosen)
JUDGED: Final = 50  # frames after speech was noticed; the loudest sample is looked for in them
SOFT_S: Final = 0.15  # before that: a word may begin softly (chosen)
NOBODY: Final = 0  # no attempt has this number
Transcript: TypeAlias = TranscriptionFrame | InterimTranscriptionFrame


class CallerSound:
    """The last seconds; times are seconds since the caller was first heard."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._ring = SoundRing(bytes_a_second=2 * rate_hz)

    @property
    def start_s(self) -> float:
        """Where what is kept begins."""
        return self._ring.start_s

    @property
    def end_s(self) -> float:
        """Now."""
        return self._ring.end_s

    def push(self, frame: InputAudioRawFrame) -> None:
        """Keep one more frame."""
        self._ring.push(frame.audio)

    def keep(self, last_s: float) -> None:
        """Forget all but the last seconds."""
        self._ring.forget(self._ring.end_s - last_s)

    def since(self, from_s: float) -> list[InputAudioRawFrame]:
        """Return what was heard since then."""
        return [InputAudioRawFrame(each, self._rate_hz, 1) for each in self._ring.since(from_s)]

    def onset_s(self, from_s: float, noticed_s: float) -> float:
        """Return where, between two moments, it is loud for the first time, and a little before.

        A recogniser that takes sound hardly faster than it comes is late by all the silence that it
        is given first.
        """
        words = self.since(noticed_s)[:JUDGED]
        loud = LOUD * max(map(_peak, words), default=0)
        at_s = from_s
        for frame in self.since(from_s):
            if at_s >= noticed_s or _peak(frame) > loud:
                break
            at_s += len(frame.audio) / (2 * self._rate_hz)
        return max(from_s, min(at_s, noticed_s) - SOFT_S)


def _peak(frame: InputAudioRawFrame) -> int:
    whole = memoryview(frame.audio)[: len(frame.audio) // 2 * 2].cast("h")
    return max(map(abs, whole), default=0)


class PassedOn:
    """Lets each word through once, and only of the attempt that writes."""

    def __init__(self) -> None:
        self._writing = NOBODY
        self._transcripts = Transcripts()

    def utterance(self) -> None:
        """Begin another utterance."""
        self._transcripts.open()

    def write(self, attempt: int, *, replayed: bool) -> None:
        """Let an attempt write, who heard the utterance from its start or only from now on."""
        self._writing = attempt
        self._transcripts.begin(attempt, replayed=replayed)

    def new(self, frame: Transcript, reading: Reading) -> Transcript | None:
        """Return a frame with what is new in it, if anything is."""
        if not reading.text or isinstance(frame, InterimTranscriptionFrame):
            return frame if reading.text else None
        whole = " ".join(each.text for each in reading.words) if reading.words else reading.text
        new = self._transcripts.take(self._writing, reading.text, words=reading.words)
        if new != whole:
            frame.text = new
        return frame if new else None
