"""What a pause of the caller's is before the VAD is sure of it, told up the list."""

from dataclasses import dataclass

from pipecat.frames.frames import SystemFrame


@dataclass
class PauseFrame(SystemFrame):
    """News of a pause that the VAD has not told of yet."""


@dataclass
class PauseBegan(PauseFrame):
    """The caller has been silent for 0.1 s: perhaps between two words, perhaps for good."""


@dataclass
class PauseSoundsFinal(PauseFrame):
    """The turn detector takes it for the end of the turn."""


@dataclass
class PauseEnded(PauseFrame):
    """The caller speaks on, after all."""
