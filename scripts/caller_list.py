"""The list of recorded callers: their words, their line, and what the agent must do."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import caller_sound
import numpy as np
import soundfile
from caller_voice import Samples

GREETING_S: Final = 4.0  # callers wait for the greeting, which is under 3.5 s, before they speak
ANSWER_S: Final = 8.0  # silence for the agent's answer where the caller speaks again
FLOOR_DB: Final = -70.0  # noise of a line and a quiet room between words; no line is at zero
TAIL_S: Final = 1.0  # silence after the last word, enough for the end of the turn to be seen
NOISE_SNR_DB: Final = 10.0
CLIP_GAIN_DB: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One utterance."""

    parts: tuple[str, ...]  # spoken with `pause_s` of silence between them
    wait_s: float = GREETING_S  # silence before it in the recording
    pause_s: float = 0.0
    cue: str = "greeting_over"  # greeting_over, answer_over or agent_speaks
    cue_after_s: float = 0.5  # how long after the cue

    @property
    def words(self) -> str:
        """What is said, as one sentence."""
        return " ".join(self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tones:
    """Keys pressed, as sound."""

    keys: str
    wait_s: float = GREETING_S


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done to the whole recording; given it, its rate and the speech's power."""

    tells: str
    does: Callable[[Samples, int, float], Samples]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One recording."""

    name: str
    about: str
    items: tuple[Line | Tones, ...]
    expect: Mapping[str, Any]
    voice: str = "en-us"
    words_a_minute: int = 170
    pitch: int = 50
    rate_hz: int = 16000
    rms_db: float = -20.0
    floor_db: float | None = FLOOR_DB  # `None` for samples of zero between words
    steps: tuple[Step, ...] = ()
    tail_s: float = TAIL_S
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One file that is not a valid recording."""

    name: str
    about: str
    reason: str  # a word that the refusal must hold
    content: Callable[[], bytes]


def one_line(words: str) -> tuple[Line]:
    """Return a caller's single utterance after the greeting."""
    return (Line(parts=(words,)),)


def expected(*says: list[str], word_error: float, barge_in: bool = False) -> dict[str, Any]:
    """Return what must happen: for each turn, a list of words; the agent says one of them."""
    return {
        "refused": False,
        "turns": len(says),
        "agent_says": list(says),
        "max_word_error": word_error,
        "barge_in": barge_in,
    }


def _wav(channels: int, subtype: str) -> bytes:
    file = io.BytesIO()
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(1600) / 8000)
    sound = np.repeat(tone[:, None], channels, axis=1)
    soundfile.write(file, sound, 8000, format="WAV", subtype=subtype)
    return file.getvalue()


HOURS: Final = ["open", "nine"]
PRICE: Final = ["costs", "euros"]
BOOKING: Final = ["book"]
PERSON: Final = ["person", "somebody", "through"]
ADDRESS: Final = ["street", "station"]
BYE: Final = ["goodbye"]

BAND: Final = Step(
    "telephone band, 300 to 3400 Hz",
    lambda sound, rate_hz, _: caller_sound.telephone_band(sound, rate_hz),
)
MULAW: Final = Step("mu-law coded and decoded", lambda sound, *_: caller_sound.through_mulaw(sound))
STREET: Final = Step(
    f"street noise, {NOISE_SNR_DB:.0f} dB below the speech",
    lambda sound, rate_hz, speech_power: caller_sound.in_a_street(
        sound, rate_hz, snr_db=NOISE_SNR_DB, speech_power=speech_power
    ),
)
TOO_LOUD: Final = Step(
    f"{CLIP_GAIN_DB:.0f} dB too loud, cut off at full scale",
    lambda sound, *_: caller_sound.clipped(sound, gain_db=CLIP_GAIN_DB),
)

CALLERS: Final = (
    Caller(
        name="01_hours",
        about="A plain question in a woman's voice, wide band.",
        items=one_line("What are your opening hours?"),
        voice="en-us+f2",
        expect=expected(HOURS, word_error=0.25),
    ),
    Caller(
        name="02_saturday_mulaw",
        about="A British voice on a telephone line: narrow band and mu-law.",
        items=one_line("Are you open on Saturday?"),
        voice="en-gb-x-rp+m1",
        rate_hz=8000,
        steps=(BAND, MULAW),
        # The lab hears two words as one at times ("today"); the answer stays the same.
        expect=expected(HOURS, word_error=0.4),
    ),
    Caller(
        name="03_booking",
        about="A long sentence in a woman's voice.",
        items=one_line("I would like to book an appointment for tomorrow at three o'clock."),
        voice="en-us+f3",
        expect=expected(BOOKING, word_error=0.25),
    ),
    Caller(
        name="04_hours_band",
        about="A man asks through the telephone's voice band.",
        items=one_line("What are your opening hours?"),
        voice="en-us+m3",
        rate_hz=8000,
        steps=(BAND,),
        expect=expected(HOURS, word_error=0.34),
    ),
    Caller(
        name="05_noise_10db",
        about="A caller in a noisy street; the noise never stops.",
        items=one_line("What are your opening hours?"),
        steps=(STREET,),
        expect=expected(HOURS, word_error=0.5),
        facts={"noise_snr_db": NOISE_SNR_DB},
    ),
    Caller(
        name="06_pause",
        about="A caller thinks for 0.6 s in the middle of one sentence: one turn, not two.",
        items=(Line(parts=("I would like to", "book an appointment for tomorrow."), pause_s=0.6),),
        voice="en-us+m1",
        words_a_minute=150,
        rms_db=-24.0,
        expect=expected(BOOKING, word_error=0.34),
    ),
    Caller(
        name="07_two_utterances",
        about="A question, its answer, and a goodbye.",
        items=(
            Line(parts=("Can I speak to a person?",)),
            Line(parts=("Goodbye.",), wait_s=ANSWER_S, cue="answer_over"),
        ),
        voice="en-us+m1",
        expect=expected(PERSON, BYE, word_error=0.34),
    ),
    Caller(
        name="08_barge_in",
        about="A second question while the agent surely answers the first one.",
        items=(
            Line(parts=("What are your opening hours?",)),
            Line(
                parts=("How much does it cost?",),
                wait_s=3.0,
                cue="agent_speaks",
                cue_after_s=1.0,
            ),
        ),
        voice="en-us+f3",
        expect=expected(HOURS, PRICE, word_error=0.34, barge_in=True),
    ),
    Caller(
        name="09_over_greeting",
        about="An impatient caller speaks into the greeting.",
        items=(
            Line(
                parts=("Can I speak to a person?",),
                wait_s=1.5,
                cue="agent_speaks",
                cue_after_s=1.0,
            ),
        ),
        expect=expected(PERSON, word_error=0.34, barge_in=True),
    ),
    Caller(
        name="10_silence",
        about="A caller without a word; after 8 s the agent asks whether they are still there.",
        items=(),
        rate_hz=8000,
        tail_s=14.0,
        expect=expected(word_error=0.0) | {"agent_prompts": True},
    ),
    Caller(
        name="11_keypad",
        about="Keys pressed, heard as tones, which are no words; then a question.",
        items=(
            Tones(keys="123#"),
            Line(parts=("Where are you?",), wait_s=3.0),
        ),
        rate_hz=8000,
        expect=expected(ADDRESS, word_error=0.34),
    ),
    Caller(
        name="12_very_quiet",
        about="A caller far from the telephone, at -42 dB.",
        items=one_line("What are your opening hours?"),
        rms_db=-42.0,
        voice="en-us+m1",
        expect=expected(HOURS, word_error=0.34),
    ),
    Caller(
        name="13_clipped",
        about="A caller who shouts into a microphone that is set too high.",
        items=one_line("How much does it cost?"),
        steps=(TOO_LOUD,),
        expect=expected(PRICE, word_error=0.5),
    ),
    Caller(
        name="14_rate_8k",
        about="8000 samples a second, and samples of zero around the words.",
        items=one_line("When are you open?"),
        voice="en-us+f3",
        rate_hz=8000,
        floor_db=None,
        expect=expected(HOURS, word_error=0.34),
    ),
    Caller(
        name="15_rate_48k",
        about="48000 samples a second, as a sound card records.",
        items=one_line("Can you repeat that?"),
        rate_hz=48000,
        voice="en-us+f3",
        expect=expected(["said"], word_error=0.34),
    ),
)

REFUSED: Final = (
    Refused(
        name="90_not_audio",
        about="Text with the name of a recording.",
        reason="not audio",
        content=lambda: b"This is a shopping list: bread, milk, two lemons.\n",
    ),
    Refused(name="91_no_bytes", about="A file of no bytes.", reason="empty", content=lambda: b""),
    Refused(
        name="92_cut_short",
        about="A recording whose end was lost: its header promises more than there is.",
        reason="truncated",
        content=lambda: _wav(1, "PCM_16")[:600],
    ),
    Refused(
        name="93_fine_samples",
        about="24 bits a sample.",
        reason="24",
        content=lambda: _wav(1, "PCM_24"),
    ),
    Refused(
        name="94_three_channels",
        about="Three channels.",
        reason="3 channels",
        content=lambda: _wav(3, "PCM_16"),
    ),
)
