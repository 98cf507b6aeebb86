"""Measures a voice: its pace and word times, and whether it is silent after an interruption."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pipecat.frames.frames import InterruptionFrame

from bot.doctor.trial import CheckLine, Trial, alone, now_s
from fallbacks.failure import ServiceError, error_of
from fallbacks.word_times import TimedWord, WordFollower, sayable
from providers.adapter.lone_service import LoneService
from providers.adapter.lone_voice import KeepingEar, ask_lone_voice, wait_for_sound
from providers.probing import WORDS
from providers.provider import RungSpec

TEXT: Final = (
    "Please hold the line. I am looking for a free appointment. We will be with you in a moment."
)
FIRSTS: Final = (0, 4, 11)  # the first word of each sentence
LETTERS: Final = sum(map(str.isalnum, TEXT))
VOICE_CHECK_S: Final = 12.0  # for one answer; the text takes about six seconds
MUTED_S: Final = 0.02  # between the interruption and the next answer
TRIES: Final = (0.0, 0.3, 0.6)  # interruptions after these shares of the text's sound
SPARE_S: Final = 0.3  # that the same words may take longer, besides half of their length
OFF_S: Final = 0.3  # that a word time may be off (chosen: a word)
TIMED: Final = 0.9  # the least share of words with times
PAUSE_S: Final = 0.1  # the shortest pause between sentences
STEP_S: Final = 0.01
SILENT: Final = 0.02  # of the loudest amplitude: a pause is quieter
LATE: Final = "the next answer has late sound, or is not whole"
PACES: Final = (7.5, 24.0)  # letters a second: outside, the sample rate is probably wrong


class Talker:
    """A voice alone, which speaks one text after another."""

    def __init__(self, rung: RungSpec, lone: LoneService, service: Any, ear: KeepingEar) -> None:
        self._rate_hz, self._lone, self._service, self._ear = (
            rung.sample_rate_hz,
            lone,
            service,
            ear,
        )
        self._is_new = True

    async def say(self, text: str, *, enough: int = 0) -> float:
        """Speak a text, or `enough` bytes of it if not 0; return the audible seconds.

        Raises:
            ServiceError: The voice failed.
        """
        if not self._is_new:  # a new one may have failed while it was connected
            self._ear.start_attempt()
        self._is_new = False
        if self._ear.lost_it:
            await self._service.revive()
        await ask_lone_voice(self._lone, self._ear, text)
        await wait_for_sound(self._ear, enough=enough)
        if self._ear.failure is not None:
            raise error_of(self._ear.failure)
        return audible_s(bytes(self._ear.pcm), self._rate_hz)

    async def interrupt(self, *, after: int) -> float:
        """Interrupt the text after `after` bytes; return how many seconds two words then sound.

        It is zero if the voice fails at these words. At least one sample (2 bytes) is awaited.
        """
        await self.say(TEXT, enough=max(2, after))
        await self._lone.send(InterruptionFrame())
        await asyncio.sleep(MUTED_S)
        try:
            return await self.say(WORDS)
        except ServiceError:
            return 0.0


@asynccontextmanager
async def talking(
    trial: Trial, rung: RungSpec, ear: KeepingEar, **facts: bool
) -> AsyncIterator[Talker]:
    """Run a voice during the block as if it had these facts."""
    rung = replace(rung, facts=replace(rung.facts, **facts))
    async with alone(trial, rung, prepare=lambda service: service.listen(ear)) as started:
        yield Talker(rung, *started, ear)


async def check_voice(trial: Trial, rung: RungSpec) -> None:
    """Measure a voice over at most three connections, with at most eleven answers."""
    ear, began_s = KeepingEar(), now_s()
    async with talking(trial, rung, ear, word_times=False, cancels=True) as talker:
        words_s = await trial.step("two words", talker.say(WORDS), within_s=VOICE_CHECK_S)
        trial.tell(CheckLine("two words", f"connected and spoken in {now_s() - began_s:.2f} s"))
        text_s = await trial.step("a long text", talker.say(TEXT), within_s=VOICE_CHECK_S)
        trial.tell(_pace_line(rung, text_s))
        moments = [int(share * len(ear.pcm)) for share in TRIES]
        clean = await _is_silent(trial, talker, words_s, moments)
    text = "silent at once" if clean else LATE
    trial.tell(CheckLine("falls silent when it is interrupted", text, fact="cancels", value=clean))
    async with talking(trial, rung, ear := KeepingEar(), word_times=True, cancels=clean) as talker:
        timed = _check_word_times(talker, ear, rung.sample_rate_hz)
        trial.tell(await trial.step("word times", timed, within_s=VOICE_CHECK_S))
    if clean and rung.facts.cancels:
        return
    async with talking(trial, rung, KeepingEar(), word_times=False, cancels=False) as talker:
        clean = await _is_silent(trial, talker, words_s, moments[1:2])
        text = "the next answer is whole" if clean else LATE
        trial.tell(CheckLine("reconnected at an interruption", text, ok=clean))


async def _is_silent(trial: Trial, talker: Talker, words_s: float, moments: Sequence[int]) -> bool:
    """Return whether the next two words are whole and alone after each interruption."""
    for after in moments:
        work = talker.interrupt(after=after)
        took_s = await trial.step("an interruption", work, within_s=2 * VOICE_CHECK_S)
        if not words_s / 2 <= took_s <= words_s * 1.5 + SPARE_S:
            return False
    return True


def _pace_line(rung: RungSpec, text_s: float) -> CheckLine:
    pace = LETTERS / max(text_s, STEP_S)
    cure = "" if PACES[0] < pace < PACES[1] else "; its rate is probably another: set rate_hz"
    text = f"{rung.rate_hz or rung.sample_rate_hz} Hz, {pace:.0f} letters a second{cure}"
    return CheckLine("sound", text, ok=not cure)


async def _check_word_times(talker: Talker, ear: KeepingEar, rate_hz: int) -> CheckLine:
    """Let the voice speak the text again, with its word times."""
    try:
        await talker.say(TEXT)
    except ServiceError as error:
        text = f"with word times, it fails: {error.failure.reason}"
        return CheckLine("reports word times", text, fact="word_times", value=False)
    return _word_times(ear.words, bytes(ear.pcm), rate_hz)


def _word_times(words: Sequence[tuple[str, float]], pcm: bytes, rate_hz: int) -> CheckLine:
    """Compare the reported beginning of each sentence with the pauses in the sound."""
    written = [TimedWord(text=word, letters=sayable(word)) for word in TEXT.split()]
    follower = WordFollower(written, first=0)
    for word, start_s in words:
        follower.follow(word, start_s=start_s, end_s=None)
    timed = sum(word.start_s is not None for word in written)
    heard_s = sentence_starts_s(pcm, rate_hz)
    pairs = zip([written[first].start_s for first in FIRSTS], heard_s, strict=False)
    off = [said - heard for said, heard in pairs if said is not None]
    if timed < TIMED * len(written):
        text, good = f"for {timed} of {len(written)} words", False
    elif not off:
        text, good = "the sound has no pauses to compare them with", True
    else:
        worst_s = max(off, key=abs)
        where = "after" if worst_s > 0 else "before"
        text, good = f"up to {abs(worst_s):.2f} s {where} the sound", abs(worst_s) <= OFF_S
    return CheckLine("reports word times", text, fact="word_times", value=good)


def _loud_steps(pcm: bytes, rate_hz: int) -> npt.NDArray[np.intp]:
    """Return the numbers of the steps of a sound (16-bit mono) that are not silent.

    A step lasts `STEP_S`; the last, incomplete one is left out.
    """
    step = round(STEP_S * rate_hz)
    samples = np.frombuffer(pcm[: len(pcm) // 2 // step * step * 2], "<i2").astype(np.float32)
    power = np.square(samples.reshape(-1, step)).mean(axis=1)
    return np.flatnonzero(power > np.square(SILENT) * power.max(initial=0.0))


def audible_s(pcm: bytes, rate_hz: int) -> float:
    """Return how long a sound is without silence at its ends."""
    loud = _loud_steps(pcm, rate_hz)
    return float(loud[-1] - loud[0] + 1) * STEP_S if loud.size else 0.0


def sentence_starts_s(pcm: bytes, rate_hz: int) -> list[float]:
    """Return where each sentence of `TEXT` begins, by the longest pauses; none without these."""
    loud = _loud_steps(pcm, rate_hz)
    pauses = np.diff(loud)
    longest = np.sort(np.argsort(pauses, kind="stable")[1 - len(FIRSTS) :])
    if len(longest) < len(FIRSTS) - 1 or pauses[longest].min() * STEP_S < PAUSE_S:
        return []
    return [float(step) * STEP_S for step in (loud[0], *loud[longest + 1])]
