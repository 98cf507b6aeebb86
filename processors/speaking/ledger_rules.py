"""The ledger of an utterance: its words, the audio that has arrived, and the audio released.

A word has arrived when its last sample has, with a margin, because the providers' word times are
not exact. If a rung fails, the next voice continues with the first word that has not arrived.
Partial audio of that word is dropped, so that every word is heard once. For this, no more audio may
go to the line than `releasable_s` permits: the audio of whole words, or all of it if the line
would otherwise fall silent. While another voice is asked for the rest, no audio is released beyond
the words that have arrived.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from calls.line import CallerLine
from fallbacks.symptoms import SHORT_AUDIO_S
from fallbacks.word_times import TimedWord, WordFollower, WordTimes, as_written, set_times
from processors.speaking.alignment_rules import LONG_S, KeptSound, Part, SoundAligned
from runtime.pcm import SAMPLE_BYTES

MARGIN_S: Final = 0.05  # tolerance of word times, as seen with both voices (chosen)
# ElevenLabs rounds to whole milliseconds in each message; in a long sentence the errors add up.
ROUNDING_S: Final = 0.01
ASK_AHEAD_S: Final = 0.4  # of sound on the line: enough to align a sound and ask the next voice
LEAD_S: Final = 0.1  # with less than this queued on the line, half words are better than silence
DRAIN_S: Final = 0.01  # added to that time, so that the timer does not fire too early
# Of a voice without word times, the last audio is held back while more is expected: it may be half
# a word. Behind a pause nothing is.
HELD_S: Final = 0.3
SURE_WORDS: Final = 3  # the ends of the last aligned words are the least certain ones
SHORTEST_PAUSE_S: Final = 0.1  # the shortest such pause (chosen)
# If a sound cannot be aligned, words count as spoken after this share of the time that the voice
# takes for them, or of the usual time if that is unknown (both chosen): in doubt they are repeated.
CAREFUL: Final = 1.1
CAREFUL_UNKNOWN: Final = 1.4
UNTIMED_S: Final = 0.6  # a voice that has sent this much audio without word times reports none


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundCame:
    """A voice sent audio: whole samples, each piece once."""

    attempt: int
    pcm: bytes  # 16-bit mono
    speaking: bool  # speech, or a short pause in it
    quiet_s: float = 0.0  # the silence at its end, in seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTimed:
    """A voice reported when a word, or a part of one, is spoken, in seconds of its own audio."""

    attempt: int
    text: str
    start_s: float
    end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaySound:
    """Send audio to the line."""

    pcm: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayWord:
    """Count a word as heard when the line has played the audio sent before this action."""

    word: str
    spaced: bool = False  # the word has its own spaces, as in a script without spaces


@dataclass(slots=True)
class _Voice:
    """The current voice."""

    attempt: int
    follower: WordFollower
    first: int  # the first word that it speaks
    done: int  # all words before this one are spoken, as the voice has reported
    done_s: float  # the end of their audio
    arrived: int  # the first word that has not fully arrived; it only grows between alignments
    received_s: float = 0.0  # seconds of audio from this voice
    aligned: int = 0  # the first word that was not aligned
    aligned_s: float = -1.0  # of these, how many were aligned with the text
    tried_s: float = -1.0  # and how many could not be aligned
    pace: float | None = None  # the time that it takes, as a share of the usual time, if known


class SpeechLedger:
    """Tracks which words of one utterance have arrived, so that each is spoken once.

        ledger = SpeechLedger()
        ledger.hand_over("We open at nine. ")
        ledger.start_attempt(1)                                 # "We open at nine."
        ledger.word(1, "We", start_s=0.0, end_s=0.2)
        ledger.audio(1, 0.3)
        ledger.rest                                     # "open at nine."

    Attributes:
        words: The words and their times.
        released_s: The seconds of audio that went to the line.
        audible_s: Up to where the audio is audible, in seconds.
        reports_ends: Whether the current voice has reported when a word ends, not only its start.
        asked_from: The first word that another voice is asked for: until one of the two speaks, no
            report of the current voice changes what has arrived. `None` if no other one is asked.
        reported: The number of words whose times earlier voices have reported.
        aligned: The number of their words whose times were found in the sound.
        estimated: The number of their words whose times were estimated.
    """

    def __init__(self) -> None:
        self.words = WordTimes()
        self.released_s = self.audible_s = 0.0
        self.reports_ends = False
        self.asked_from: int | None = None
        self.reported = self.aligned = self.estimated = 0
        follower = self.words.begin_voice(0, 0.0, timed=True)
        self._voice = _Voice(attempt=-1, follower=follower, first=0, done=0, done_s=0.0, arrived=0)
        self._earlier = (0, 0, 0)  # `reported`, `aligned` and `estimated`, of earlier voices

    @property
    def rest(self) -> str:
        """The text that has not fully arrived, for the next rung; empty if all of it has."""
        return self.words.text_from(self.arrived)

    @property
    def arrived(self) -> int:
        """The index of the first word whose audio has not fully arrived; it never decreases.

        While another voice is asked, it is the word from which that one was asked.
        """
        voice = self._voice
        if self.asked_from is not None:
            return max(self.asked_from, voice.done)
        voice.arrived = max(voice.arrived, voice.done)
        if self.settled:
            return voice.arrived
        share = self._careful_share
        while voice.arrived < len(self.words.words) and _has_arrived(self, voice.arrived, share):
            voice.arrived += 1
        return voice.arrived

    @property
    def attempt(self) -> int:
        """The current voice's attempt."""
        return self._voice.attempt

    @property
    def voice_s(self) -> float:
        """The seconds of audio from the current voice."""
        return self._voice.received_s

    @property
    def settled(self) -> bool:
        """Whether all audio so far was aligned, so that nothing about its words is estimated."""
        return self._voice.aligned_s >= self._voice.received_s

    @property
    def alignable(self) -> bool:
        """Whether an alignment would tell more than is known."""
        voice = self._voice
        known_s = max(voice.aligned_s, voice.tried_s)
        return not self.words.timed and voice.received_s > max(0.0, known_s)

    @property
    def unfinished(self) -> bool:
        """Whether the voice has not reported the end of all words so far."""
        return self._voice.done < len(self.words.words)

    @property
    def _careful_share(self) -> float:
        """The share of the usual time after which an untimed word has certainly been spoken.

        It is more careful while no alignment of the latest audio was tried.
        """
        voice = self._voice
        if voice.tried_s < voice.received_s:
            return 1.0
        return CAREFUL_UNKNOWN if voice.pace is None else CAREFUL * voice.pace

    @property
    def ends_too_soon(self) -> bool:
        """Whether a voice that reports its end has not sent the audio of all its words."""
        words, sound_s = self.words.measure_untimed(self.received_s)
        is_short = words > 0 and sound_s < SHORT_AUDIO_S * words
        return is_short or (self.words.timed and self.words.follower.lacks_end(self.audible_s))

    @property
    def sent(self) -> bool:
        """Whether the audio reaches the end of all words, by the voice's own word times.

        Word times are not exact, so the end of a word may still be missing. But a voice that sends
        no more audio then has not stalled. If it reports no ends, the last word's middle is enough
        if the audio falls silent after it; else its end is estimated.
        """
        words, first = self.words.words, self.arrived
        pending = range(first, len(words))
        if not self.words.timed and self._careful_share == CAREFUL_UNKNOWN:
            return all(_has_arrived(self, at, 1.0) for at in pending)
        mute = not any(words[at].letters for at in pending)  # no voice reports a dash at the end
        arrived_s = self.received_s + ROUNDING_S
        spoken = (at for at in pending if mute or words[at].letters)
        if self.reports_ends or not self.words.timed:
            ends = (words[at].end_s for at in spoken)
        elif self.received_s - self.audible_s >= MARGIN_S:
            ends = map(self.words.middle_s, spoken)
        else:
            ends = (_likely_end_s(self.words, at) for at in spoken)
        return all(end_s is not None and end_s <= arrived_s for end_s in ends)

    @property
    def received_s(self) -> float:
        """The seconds of audio received, without audio that was dropped."""
        return self.words.base_s + self._voice.received_s

    @property
    def keep_s(self) -> float:
        """Up to where the audio would be kept if the voice failed now, in seconds."""
        voice, arrived = self._voice, self.arrived
        if not self.words.timed and not self.settled and voice.done < len(self.words.words):
            pauses = self.received_s - self.audible_s >= SHORTEST_PAUSE_S
            held_s = 0.0 if pauses or not self.alignable else HELD_S  # it may be half a word
            least_s = max(voice.done_s, min(self.released_s, self.received_s))
            return max(self.received_s - held_s, least_s)
        if not self.words.timed and arrived == len(self.words.words):
            return self.received_s
        ends = map(self.words.end_s, range(arrived - 1, voice.done - 1, -1))
        clean_s = next((end_s for end_s in ends if end_s is not None), voice.done_s)
        return min(max(clean_s, self.released_s), self.received_s)

    def hand_over(self, text: str) -> None:
        """Add text to speak, in pieces of any size."""
        self.words.add_text(text, may_join=self.arrived < len(self.words.words))

    def start_attempt(self, attempt: int, *, timed: bool = True, pace: float | None = None) -> str:
        """Start another attempt, and return the rest, which it must speak.

        Args:
            attempt: Its number; output of earlier attempts is ignored from now on.
            timed: Whether this voice reports word times; if not, they are estimated.
            pace: The time that it takes, as a share of the usual time; `None` if unknown.
        """
        first, base_s = self.arrived, self.keep_s
        self.count_times()
        self.asked_from, self.reports_ends = None, False
        self._earlier = (self.reported, self.aligned, self.estimated)
        follower = self.words.begin_voice(first, base_s, timed=timed)
        self.audible_s = base_s
        self._voice = _Voice(
            attempt=attempt,
            follower=follower,
            first=first,
            done=first,
            done_s=base_s,
            arrived=first,
            aligned=first,
            pace=pace,
        )
        return self.rest

    def count_times(self) -> None:
        """Count the words of the current voice, which ends, by the source of their times."""
        voice, arrived = self._voice, self.arrived
        if self.words.timed:
            self.reported += arrived - voice.first
        else:
            aligned = min(voice.aligned, arrived) - voice.first
            self.aligned += aligned
            self.estimated += arrived - voice.first - aligned
        voice.first = voice.aligned = arrived

    def count_heard(self, aligned: SoundAligned) -> None:
        """Count only the words that an interrupted caller has heard; they were aligned."""
        if aligned.ends_s is not None:
            self.reported, self.aligned, self.estimated = self._earlier
            self.aligned += aligned.asked.first + len(aligned.ends_s) - self.words.first

    def audio(self, attempt: int, length_s: float, *, quiet_s: float = 0.0) -> None:
        """Record that audio of this length has arrived, which ends with `quiet_s` of silence.

        Audio of an earlier attempt is ignored. A voice without a word time for `UNTIMED_S` of audio
        counts as untimed.
        """
        voice = self._voice
        if voice.attempt != attempt:
            return
        known = (voice.aligned_s >= voice.received_s, voice.tried_s >= voice.received_s)
        voice.received_s += length_s
        if quiet_s < length_s:
            self.audible_s = self.received_s - quiet_s
        else:  # silence adds no word
            voice.aligned_s = voice.received_s if known[0] else voice.aligned_s
            voice.tried_s = voice.received_s if known[1] else voice.tried_s
        if not voice.follower.begun and voice.received_s > UNTIMED_S:
            self.words.timed = False

    def word(self, attempt: int, said: str, *, start_s: float, end_s: float | None = None) -> None:
        """Record a word's time in its attempt's audio, in seconds; ignore an earlier attempt's.

        From then on, the voice counts as one that reports times.
        """
        if self._voice.attempt != attempt:
            return
        self.words.timed = True
        self.reports_ends = self.reports_ends or end_s is not None
        base_s = self.words.base_s
        end_s = None if end_s is None else end_s + base_s
        self._voice.follower.follow(said, start_s=start_s + base_s, end_s=end_s)

    def align(self, aligned: SoundAligned | None) -> None:
        """Replace the estimated times of an untimed voice's words by those of an alignment.

        `None` if the audio so far cannot be aligned; then estimates are more careful.
        """
        voice = self._voice
        if aligned is None or aligned.ends_s is None:
            voice.tried_s = voice.received_s
            voice.arrived = max(voice.done, voice.aligned)
        elif voice.attempt == aligned.attempt and not self.words.timed:
            asked, voice.aligned_s = aligned.asked, aligned.asked.received_s
            set_times(self.words, asked.first, asked.from_s, aligned.ends_s)
            voice.aligned = asked.first + len(aligned.ends_s)
            voice.arrived = max(voice.done, voice.aligned)

    def done(self, attempt: int, last: int | None = None) -> None:
        """Record that the voice has spoken all words so far, or those before the word `last`.

        A report of an earlier attempt is ignored. Words without times get estimated ones, spread
        over the audio so far.
        """
        voice = self._voice
        if voice.attempt != attempt:
            return
        self.words.fill(self.received_s, last)
        voice.done, voice.done_s = last or len(self.words.words), self.received_s

    def measure(self, part: Part) -> tuple[Sequence[TimedWord], float]:
        """Return the words of a text that has ended, and the seconds of its audible sound."""
        return self.words.words[part[0] : part[1]], max(0.0, self.audible_s - part[2])

    def releasable_s(self, queued_s: float) -> float:
        """Return up to where the utterance's audio may go to the line, in seconds.

        Args:
            queued_s: The seconds of audio on the line that are not played yet. If they are few,
                half words are better than silence.
        """
        is_dry = queued_s < LEAD_S and self.words.timed
        return self.received_s if is_dry else self.keep_s

    def end_s(self, at: int, share: float) -> float | None:
        """Return when a word ends, `None` if unknown; estimates count `share` of the usual time."""
        words, known = self.words, max(self._voice.done, self._voice.aligned)
        end_s = words.end_s(at)
        if end_s is None or words.timed or at < known or words.words[at].end_s is not None:
            return end_s
        from_s = words.words[known - 1].end_s if known > words.first else words.base_s
        return (from_s or 0.0) + share * (end_s - (from_s or 0.0))


def _likely_end_s(words: WordTimes, at: int) -> float | None:
    """Return when a word ends, estimated if only its start is known; `None` if that is unknown."""
    start_s, middle_s = words.start_s(at), words.middle_s(at)
    return None if start_s is None or middle_s is None else 2 * middle_s - start_s


def _has_arrived(ledger: SpeechLedger, at: int, share: float = 1.0) -> bool:
    """Return whether the audio of a word has certainly arrived, or was released anyway.

    `share` is the share of the usual time that an untimed word is given.
    """
    words = ledger.words.words
    if not words[at].letters:
        if at > 0:
            return True  # the audio of a dash is part of the word before it
        first = next((n for n, word in enumerate(words) if word.letters), None)
        return first is not None and _has_arrived(ledger, first, share)
    end_s, received_s = ledger.end_s(at, share), ledger.received_s
    if end_s is None or end_s > received_s + ROUNDING_S:
        return False
    sure = end_s + MARGIN_S <= received_s
    return sure or end_s - MARGIN_S <= ledger.released_s


class SoundOutlet:
    """Holds the audio of the current voice, and releases what may go to the line.

    Attributes:
        ledger: The words of the utterance, and which of them have arrived.
        released_words: The number of words released.
        kept: The sound of the current voice, as far as its words may have to be found in it.
        hold_s: Up to where audio may be released while another voice is asked for the rest;
            `None` if no other voice is asked.
    """

    def __init__(self, line: CallerLine, *, rate_hz: int, protected: bool = False) -> None:
        self.ledger = SpeechLedger()
        self.released_words = 0
        self.hold_s: float | None = None
        self._line = line
        self._protected = protected  # it cannot be interrupted
        self._rate_hz = rate_hz
        self.kept = KeptSound(rate_hz)
        self._pcm = bytearray()  # audio that has arrived and is not released
        self._released = 0  # the number of samples released

    @property
    def stalls_at(self) -> float | None:
        """When the line will be almost empty although words may be missing; `None` if none are."""
        in_doubt = self.ledger.alignable and self.ledger.unfinished and self.hold_s is None
        return self._line.dry_at - (LEAD_S if self._pcm else ASK_AHEAD_S) if in_doubt else None

    @property
    def drained_at(self) -> float | None:
        """When the line will be so empty that half words are released; `None` if none are held."""
        if not self._pcm or self.hold_s is not None or not self.ledger.words.timed:
            return None
        return self._line.dry_at - LEAD_S + DRAIN_S

    def add(self, came: SoundCame | WordTimed) -> None:
        """Record audio or a word time of the current voice; keep the audio until its release."""
        if isinstance(came, WordTimed):
            self.ledger.word(came.attempt, came.text, start_s=came.start_s, end_s=came.end_s)
        else:
            length_s = len(came.pcm) / SAMPLE_BYTES / self._rate_hz
            quiet_s = came.quiet_s if came.speaking else length_s
            self.ledger.audio(came.attempt, length_s, quiet_s=quiet_s)
            self._pcm += came.pcm
            self.kept.add(came.pcm)

    def align(self, aligned: SoundAligned) -> None:
        """Use the result for the words; forget the sound of long speech whose words are known."""
        self.ledger.align(aligned)
        ends_s, asked = list(aligned.ends_s or ()), aligned.asked
        if len(ends_s) > SURE_WORDS and self.kept.length_s > LONG_S:
            self.kept.forget(asked.first + len(ends_s) - SURE_WORDS, ends_s[-SURE_WORDS - 1])

    def hold(self) -> None:
        """From now on, release only the words that have arrived by now."""
        self.ledger.asked_from = self.ledger.arrived
        self.hold_s = self.ledger.keep_s

    def switch_voice(
        self,
        attempt: int,
        held: Sequence[SoundCame | WordTimed],
        *,
        timed: bool,
        pace: float | None = None,
    ) -> None:
        """Use another voice for the rest; drop the last voice's audio of an incomplete word.

        Args:
            attempt: The new voice's attempt.
            held: The events that the new voice has already sent.
            timed: Whether it reports word times.
            pace: The time that it takes, as a share of the usual time; `None` if unknown.
        """
        kept = round(self.ledger.keep_s * self._rate_hz) - self._released
        del self._pcm[SAMPLE_BYTES * max(0, kept) :]
        self.ledger.start_attempt(attempt, timed=timed, pace=pace)
        self.kept.start_voice(self.ledger.arrived, self.ledger.words.base_s)
        self.hold_s = None
        for came in held:
            self.add(came)

    def release(self, now: float) -> list[PlaySound | PlayWord]:
        """Put on the line what may go there now; return it, each word after its audio."""
        if self.hold_s is None:
            return self._release_until(self.ledger.releasable_s(self._line.queued_s(now)), now)
        return self._release_until(self.hold_s, now)

    def release_last(self, now: float) -> list[PlaySound | PlayWord]:
        """Release all words that have arrived: no more audio will come."""
        released = self._release_until(self.ledger.keep_s, now)
        return [*released, *map(self._word_action, range(self.released_words, self.ledger.arrived))]

    def _release_until(self, until_s: float, now: float) -> list[PlaySound | PlayWord]:
        """Release the audio up to `until_s` of the utterance, each word in the middle of its sound.

        Returns the actions in order, and updates the ledger.
        """
        released: list[PlaySound | PlayWord] = []
        while (
            heard_s := self.ledger.words.middle_s(self.released_words)
        ) is not None and heard_s <= until_s:
            released += self._release_sound(heard_s, now)
            released.append(self._word_action(self.released_words))
            self.released_words += 1
        released += self._release_sound(until_s, now)
        self.ledger.released_s = self._released / self._rate_hz
        return released

    def _word_action(self, at: int) -> PlayWord:
        """Return the action that counts a word as heard."""
        text, spaced = as_written(self.ledger.words.words, at)
        return PlayWord(word=text, spaced=spaced)

    def _release_sound(self, until_s: float, now: float) -> list[PlaySound]:
        """Release the audio up to `until_s` of the utterance, and add it to the line."""
        available = len(self._pcm) // SAMPLE_BYTES
        samples = min(round(until_s * self._rate_hz) - self._released, available)
        if until_s >= self.ledger.received_s:  # leave no sample behind because of rounding
            samples = available
        if samples <= 0:
            return []
        pcm = bytes(memoryview(self._pcm)[: SAMPLE_BYTES * samples])  # copied once
        del self._pcm[: SAMPLE_BYTES * samples]
        self._released += samples
        self._line.add(samples / self._rate_hz, now, protected=self._protected)
        return [PlaySound(pcm=pcm)]
