"""Answerers rendered by espeak-ng: people, mailboxes, menus and call assistants."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from engines.espeak import Espeak
from processors.answerer.answerer_rules import Answerer
from processors.answerer.phrase_rules import plain

RATE_HZ: Final = 8000
LEVEL: Final = 0.35  # of full scale, as a telephone brings a voice
Pieces = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """The sound after the answer: words, pauses in seconds, and beeps as `(hz, seconds)`."""

    name: str
    who: Answerer
    says: Sequence[str | float | tuple[int, float]]
    voice: str = "en-us"
    pace: int = 165
    begins_s: float = 0.4
    noise: float = 40.0  # RMS of 32768; a street is 400
    tell: str = ""  # of a machine: a listener knows by these words at the latest


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedGreeting:
    """The rendered sound, and the second when each word has ended."""

    greeting: Greeting
    pcm: bytes
    words: tuple[tuple[float, str], ...] = field(default=())

    @property
    def told_s(self) -> float:
        """When its words have given it away; `inf` if they never do."""
        said, tell = "", plain(self.greeting.tell)
        for at_s, word in self.words:
            said = f"{said} {plain(word)}"
            if tell and tell in said:
                return at_s
        return math.inf


H, V, M, S = Answerer.HUMAN, Answerer.VOICEMAIL, Answerer.MENU, Answerer.SCREENING
BEEP: Final = (1000, 0.5)


def _person(name: str, *says: str | float, **more: object) -> Greeting:
    return Greeting(name=name, who=H, says=says, **more)  # pyright: ignore[reportArgumentType]


PEOPLE: Final = (
    _person("hello", "Hello?"),
    _person("hello hello", "Hello?", 0.4, "Hello?", voice="en-us+f2"),
    _person("yes", "Yes?", voice="en-us+m3", begins_s=0.9),
    _person("name", "Anna Miller.", voice="en-us+f3"),
    _person("name speaking", "Hello, this is Tom speaking.", voice="en-us+m1"),
    _person("late", "Hello?", begins_s=2.2, voice="en-us+f1"),
    _person("street", "Hello, who is this?", noise=400.0),
    _person("street, far", "Hello?", noise=600.0, voice="en-us+m2"),
    _person(
        "firm", "Good morning, Smith and Sons, Mary speaking, how may I help you?", voice="en-us+f2"
    ),
    _person(
        "long firm",
        "Thank you for calling Riverside Dental, this is Kelly at the front desk, "
        "how can I help you today?",
        voice="en-us+f4",
        pace=180,
    ),
    _person(
        "secretary",
        "Doctor Brown's office, he is not available right now, can I take a message?",
        voice="en-us+f3",
    ),
    _person("reached", "You've reached the Miller residence. Who's calling, please?"),
    _person("slow", "Hel lo. This is, um, Robert.", pace=110, voice="en-us+m4"),
    _person("busy", "Yeah, hi, I'm in a meeting, what is it?", pace=200),
    _person("hold on", "Hold on, hold on. One second.", 0.9, "Yes, hello?", voice="en-us+m2"),
    _person("sleepy", "Mm. Hello.", pace=120, begins_s=1.6, voice="en-us+f1"),
    _person("talks on", "Hello? Is that you, Peter? I have been waiting for your call all day."),
    _person("household", "Hello?", 1.2, "Hello, is anybody there?", noise=250.0),
    _person("spanish", "¿Diga?", voice="es"),
    _person("russian", "Алло, слушаю вас.", voice="ru"),
    _person("fast", "Hi!", voice="en-us+f5", begins_s=0.15, pace=220),
    _person("breath", 1.0, "Good evening.", voice="en-us+m1", begins_s=0.6),
)


def _mailbox(
    name: str,
    tell: str,
    *says: str | float | tuple[int, float],
    voice: str = "en-us+f2",
    pace: int = 170,
) -> Greeting:
    return Greeting(name=name, who=V, says=says, voice=voice, pace=pace, tell=tell)


MAILBOXES: Final = (
    _mailbox(
        "carrier", "leave your message", "Please leave your message after the tone.", 0.6, BEEP
    ),
    _mailbox(
        "forwarded",
        "has been forwarded",
        "Your call has been forwarded to an automatic voice message system. At the tone, please "
        "record your message.",
        0.5,
        BEEP,
    ),
    _mailbox(
        "cannot come",
        "can't come to",
        "Hi, I can't come to the phone right now. Please leave a message.",
        0.7,
        BEEP,
        voice="en-us+m3",
    ),
    _mailbox(
        "voicemail of",
        "voicemail",
        "Hello, you have reached the voicemail of Tom Brown.",
        0.8,
        BEEP,
    ),
    _mailbox(
        "unavailable",
        "is not available",
        "The person you are calling is not available. Please leave a message after the beep.",
        0.4,
        (1400, 0.3),
    ),
    _mailbox("short", "leave a message", "Leave a message.", 0.5, BEEP, voice="en-us+m1"),
    _mailbox(
        "pause first",
        "leave a message",
        "Hello.",
        0.8,
        "You have reached Anna. Leave a message after the beep.",
        0.6,
        BEEP,
    ),
    _mailbox(
        "name first",
        "is not available to take",
        "Tom Brown",
        0.3,
        "is not available to take your call.",
        0.6,
        BEEP,
    ),
    _mailbox(
        "family",
        "we are away",
        "Hi, this is Peter and Lucy. We are away from our phones. Please leave your name and "
        "number and we will call you back.",
        0.8,
        BEEP,
        voice="en-us+m4",
    ),
    _mailbox(
        "full", "mailbox is full", "The mailbox is full and cannot accept any messages. Goodbye."
    ),
    _mailbox(
        "firm closed",
        "we are closed",
        "Thank you for calling Smith and Sons. We are closed. Please leave a message after the "
        "tone and we will return your call.",
        0.8,
        BEEP,
    ),
    _mailbox(
        "no beep",
        "please leave a message",  # people, too, say that they are sorry to have missed a call
        "I'm sorry, I missed your call. Please leave a message, thank you.",
    ),
    _mailbox(
        "jokes",
        "answering machine",
        "Hello? Ha, it is not me, it is my answering machine. You know what to do after the beep.",
        0.5,
        (800, 0.4),
        voice="en-us+m2",
        pace=180,
    ),
    _mailbox(
        "only a beep", "you know what to do", "Hi, it's Bob, you know what to do.", 0.6, (440, 0.6)
    ),
    _mailbox(
        "spanish",
        "no puedo atender",
        "Hola, ahora no puedo atender. Deje su mensaje después de la señal.",
        0.6,
        BEEP,
        voice="es",
    ),
    _mailbox(
        "russian",
        "оставьте сообщение",
        "Здравствуйте. Оставьте сообщение после сигнала.",
        0.6,
        BEEP,
        voice="ru",
    ),
)
MENUS: Final = tuple(
    Greeting(name=name, who=M, says=says, voice=voice, tell=tell)
    for name, tell, voice, says in (
        (
            "sales",
            "for sales press",
            "en-us+f2",
            ("Thank you for calling. For sales, press one. For support, press two.",),
        ),
        (
            "language",
            "for English press",
            "en-us+f3",
            ("For English, press 1.", 0.4, "For all else, press 2."),
        ),
        (
            "changed",
            "menu options",
            "en-us+f4",
            ("Please listen, as our menu options have changed. Press zero.",),
        ),
        (
            "extension",
            "if you know the extension",
            "en-us+m1",
            ("Welcome. If you know the extension, dial the extension now.",),
        ),
        ("spanish", "oprima", "es", ("Bienvenido. Para ventas, oprima el uno.",)),
    )
)
SCREENERS: Final = tuple(
    Greeting(name=name, who=S, says=says, voice=voice, tell=tell)
    for name, tell, voice, says in (
        (
            "records",
            "record your name",
            "en-us+f2",
            (
                "Hi, if you record your name and reason for calling, I'll see if this person is "
                "available.",
            ),
        ),
        (
            "service",
            "is using a screening",
            "en-us+f4",
            (
                "Hi, the person you're calling is using a screening service, and will get a copy "
                "of this conversation. Go ahead and say your name, and why you're calling.",
            ),
        ),
        (
            "states",
            "state your name",
            "en-us+m1",
            ("Please state your name and the reason for your call.",),
        ),
    )
)
GREETINGS: Final = (*PEOPLE, *MAILBOXES, *MENUS, *SCREENERS)


def render(greeting: Greeting, engine: Espeak, *, seed: int = 7) -> RenderedGreeting:
    """Return a greeting as telephone sound."""
    dice = np.random.default_rng(seed)
    pieces: list[Pieces] = [np.zeros(round(greeting.begins_s * RATE_HZ))]
    words: list[tuple[float, str]] = []
    for say in greeting.says:
        at_s = sum(map(len, pieces)) / RATE_HZ
        match say:
            case str():
                sound, spoken = _spoken(say, greeting, engine)
                pieces.append(sound)
                words += [(at_s + after_s, word) for after_s, word in spoken]
            case (hz, length_s):
                at = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
                pieces.append(0.2 * np.sin(2 * np.pi * hz * at))
            case pause_s:
                pieces.append(np.zeros(round(float(pause_s) * RATE_HZ)))
    sound = np.concatenate([*pieces, np.zeros(5 * RATE_HZ)]) * 32767
    sound += dice.normal(0.0, greeting.noise, len(sound))
    pcm = sound.clip(-32768, 32767).astype("<i2").tobytes()
    return RenderedGreeting(greeting=greeting, pcm=pcm, words=tuple(words))


def _spoken(
    text: str, greeting: Greeting, engine: Espeak
) -> tuple[Pieces, list[tuple[float, str]]]:
    """Return speech, and the second when each word has ended."""
    samples, starts = engine.speak(text, [greeting.voice], words_per_minute=greeting.pace, pitch=50)
    sound = soxr.resample(samples.astype(np.float64) / 32768, engine.rate_hz, RATE_HZ)
    sound *= LEVEL / max(0.01, float(np.abs(sound).max()))
    ends = [sample / engine.rate_hz for _, sample in starts[1:]] + [len(sound) / RATE_HZ]
    marks = [index for index, _ in starts] + [len(text)]
    spoken = [
        (end, text[marks[at] : marks[at + 1]].strip()) for at, end in enumerate(ends) if marks
    ]
    return sound, spoken
