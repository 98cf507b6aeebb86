"""The time limits of the voice, in seconds."""

from typing import Final

from fallbacks.ladder import Pace

# A voice says one thing at a time.
PACE: Final = Pace(late_min_s=0.35, late_max_s=0.6, gap_s=0.4, races_itself=False)
PRIOR_S: Final = 0.3  # assumed time to a rung's first audio, until it is measured (chosen)
FIRST_AUDIO_S: Final = 0.13  # usual time from a sentence to its first audio (measured)
LEADING_SILENCE_S: Final = 0.2  # usual upper bound of the silence before a voice's first word
CONNECT_S: Final = 0.3  # how long an attempt waits for a handshake: a failed rung may cost 0.4 s
COLD_CONNECT_S: Final = 1.0  # a first or requested handshake: DNS, TCP, TLS, upgrade over an ocean
NEXT_VOICE_S: Final = 1.5  # the deadline of the next attempt, after the end of the line's audio
# How long a voice without text may wait for the next sentence. Cartesia's contexts expire 1 s after
# their last audio.
NO_TEXT_S: Final = 0.5
REPORT_END_S: Final = 0.3  # how long a voice that has sent every word may take to report its end
# The same if it does not report when words end, from its last speech: whether it has sent every
# word is a guess.
UNTIMED_END_S: Final = 3.0
# After the deadline, in real time, even if our own stalls have kept every voice from being late;
# and as long again after a stall, to read the sockets.
STUCK_S: Final = 0.5
ALIGN_S: Final = 0.3  # for an alignment, which takes less than 0.1 s for 10 s of speech
ALIGN_LONG_S: Final = 1.0  # the same while the line has sound (chosen)
STALL_S: Final = 0.2  # without sound, when the line has almost nothing left to play (chosen)
