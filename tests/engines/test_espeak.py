"""The binding of espeak-ng: safe for any text, and exact about what it reads."""

import ctypes
import functools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from engines.espeak import Espeak
from engines.readable import OWN, readable
from providers import local_tts as espeak_words

HARMFUL = (
    ("⣟", "ar+f2"),
    ("k韴o\u0530", "es+Annie"),
    ("J掤切\u055b", "es+Annie"),
    ("©ч", "pt+f2"),
    ("✀-ܫ", "hi+f2"),
    ("ꢭpᖳʄ", "hi+f2"),
)
SPEAKS = """
import sys
from engines.espeak import Espeak
text, voice = sys.argv[1:]
Espeak().speak(f"{text} {text}", [voice], words_per_minute=165, pitch=50)
"""


@pytest.fixture
def engine() -> Iterator[Espeak]:
    made = Espeak(private=True, seed=1)
    yield made
    made.unload()


def said(engine: Espeak, text: str, voice: str = "en-us+f2") -> int:
    """Return for how many samples a text is spoken."""
    return len(engine.speak(text, [voice], words_per_minute=165, pitch=50)[0])


@pytest.mark.parametrize(("text", "voice"), HARMFUL)
def test_no_text_ends_the_process(text: str, voice: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-c", SPEAKS, text, voice], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "language", "given"),
    [
        ("We open at nine.\n\tAnd you?", "en-us", "We open at nine.\n\tAnd you?"),
        ("Ёлка №5, 21 °C, 3 + 4 = 7 €", "ru", "Ёлка №5, 21 °C, 3 + 4 = 7 €"),
        ("नमस्ते। 4 ४ a\u200cb", "hi", "नमस्ते। 4 ४ a\u200cb"),
        ("你好。世界", "cmn", "你好。世界"),
        ("مرحبا ٣", "ar", "مرحبا ٣"),
        ("Hola 你好 e\u0301", "es-419", "Hola    e\u0301"),
        ("Done 👍🏽 ✓ ©", "en-us", "Done       "),
        ("a\0b\x1bc\ud83dd\ue000e\u0530f", "en", "a b c d e f"),
    ],
)
def test_the_readable_text_keeps_each_character_in_its_place(
    text: str, language: str, given: str
) -> None:
    assert readable(text, language) == given


def test_every_script_belongs_to_an_existing_language(engine: Espeak) -> None:
    assert [engine.find([item]) for item in OWN] == list(OWN)


@pytest.mark.parametrize("voice", ["hi+f2", "Hindi", "inc/hi"])
def test_a_voice_reads_its_script_under_any_of_its_names(engine: Espeak, voice: str) -> None:
    assert said(engine, "नमस्ते", voice) > 2 * said(engine, " ", voice)


class Forgetful:
    """The real library, except that it speaks nothing of the first text that it is given."""

    def __init__(self, library: ctypes.CDLL, times: int) -> None:
        self._library = library
        self._times = times
        self.asked = 0

    def espeak_Synth(self, text: bytes, size: int, *rest: Any) -> int:  # noqa: N802 - its name
        """Speak, or only the pause after a sentence."""
        self.asked += 1
        spoken = b"" if self.asked <= self._times else text
        return int(self._library.espeak_Synth(spoken, len(spoken) + 1, *rest))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)


@pytest.mark.parametrize(
    ("text", "forgets", "asked"),
    [
        ("Good morning.", 1, 2),  # heard at the second try
        ("Good morning.", 0, 1),
        ("...", 1, 1),  # the pause is all there is
        ("Good morning.", 9, 2),  # never: it is asked no more
    ],
)
def test_a_sentence_that_was_not_spoken_is_spoken_again(
    engine: Espeak, monkeypatch: pytest.MonkeyPatch, text: str, forgets: int, asked: int
) -> None:
    whole = said(engine, text)
    library = Forgetful(engine._library, forgets)
    monkeypatch.setattr(engine, "_library", library)

    spoken = said(engine, text)

    assert library.asked == asked
    assert spoken == whole or forgets > 1


def test_simultaneous_first_users_get_the_same_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def slow() -> object:
        time.sleep(0.05)  # the other thread comes meanwhile
        made.append(object())
        return made[-1]

    monkeypatch.setattr(espeak_words, "_load_espeak", functools.cache(slow))
    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(espeak_words.espeak())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 1
    assert got == made * 3
