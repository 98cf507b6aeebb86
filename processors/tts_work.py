"""One utterance on the voices' ladder: who is asked for what, and what goes to the line.

The sound that has arrived plays on whatever happens to the voice it came from; the next one is
asked for the rest, from the first word that has not fully arrived. What a voice sends before it is
the one to be heard is held, and dropped if another is.

This part knows no Pipecat and does not wait: it leaves in `todo` what is to be done, in order.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from calls.line import CallerLine
from fallbacks.attempts import Done, Exhausted, Start, Win
from fallbacks.classification import classify_symptom
from fallbacks.deadline import Deadline
from fallbacks.failure import Failure, failed
from fallbacks.ledger import LEAD_S, SpeechLedger
from fallbacks.symptoms import SHORT_AUDIO_S, Symptom
from fallbacks.work import Step, Work
from processors.pcm import SAMPLE_BYTES, Pieces
from processors.tts_steps import Ask, Close, Do, More, Mute, Over, Play, Said, Won

PATIENCE_S: Final = 1.5  # behind the last sound on the line, for whoever could still say the rest
IDLE_S: Final = 0.5  # without new text; Cartesia lets a context expire 1 s after its last sound
DONE_S: Final = 0.3  # for a voice that has sent every word to say that it is done
DRAIN_S: Final = 0.01  # past the moment at which the ledger lets half words go


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    text: str
    start_s: float
    end_s: float | None


@dataclass(slots=True)
class _Live:
    """An attempt that may still be heard."""

    provider: str
    pieces: Pieces
    held: list[bytes | _Word] = field(default_factory=list[bytes | _Word])
    last: _Word | None = None
    owes: bool = True


class TtsWork:
    """One utterance; events come in with `now`, monotonic in seconds."""

    def __init__(
        self, work: Work, *, line: CallerLine, rate_hz: int, word_times: Mapping[str, bool]
    ) -> None:
        """Prepare.

        Args:
            work: Decides who is asked.
            line: The caller's.
            rate_hz: Of all sound.
            word_times: By rung, whether it says when each word is spoken.
        """
        self.todo: deque[Do] = deque()
        self.over = False
        self._work = work
        self._line = line
        self._rate_hz = rate_hz
        self._word_times = word_times
        self._ledger = SpeechLedger()
        self._live: dict[int, _Live] = {}
        self._voice: int | None = None  # the attempt whose sound the ledger takes
        self._pcm = bytearray()  # arrived, not let go
        self._released = 0  # samples
        self._said = 0  # words
        self._hold_s: float | None = None  # no sound goes beyond this: the rest is asked elsewhere
        self._idle_since: float | None = None
        self._closed = False
        self._until = Deadline(at=0.0)

    @property
    def accepts(self) -> bool:
        """Whether more text may be handed over."""
        return not self._closed and not self.over

    @property
    def wake_at(self) -> float | None:
        """When `tick` has something to do."""
        if self.over:
            return None
        moments = [self._work.wake_at, self._idle_at(), self._drained_at()]
        return min((each for each in moments if each is not None), default=None)

    def start(self, text: str, until: Deadline, *, now: float) -> None:
        """Have the first rung begin."""
        self._until = Deadline(at=max(until.at, now + PATIENCE_S))
        self._ledger.hand_over(f"{text} ")
        self._do(self._work.start(self._until, now=now), now)

    def hand_over(self, text: str, now: float) -> None:
        """Take in more of the utterance: whole words."""
        self._ledger.hand_over(f"{text} ")
        self.todo.extend(More(provider=live.provider, text=text) for live in self._live.values())
        self._settle(now)

    def close(self, now: float) -> None:
        """Take in that the text is complete."""
        if self.accepts:
            self._closed = True
            self.todo.extend(Close(provider=live.provider) for live in self._live.values())
            self._settle(now)

    def stop(self, now: float) -> None:
        """Drop everything: the caller speaks."""
        if not self.over:
            self._do(self._work.cancel("caller", now=now), now)
            self.over = True

    def waits(self, attempt: int, now: float) -> None:
        """Take in that an attempt waits for a connection that is made only now."""
        if attempt in self._live:
            self._do(self._work.waits(attempt, now=now), now)

    def begun(self, attempt: int, now: float) -> None:
        """Take in that it has begun."""
        if attempt in self._live:
            self._do(self._work.admitted(attempt, now=now), now)

    def refused(self, attempt: int, now: float) -> None:
        """Take in that there was no place for an attempt."""
        if attempt in self._live:
            self._drop(attempt)
            self._do(self._work.refused(attempt, now=now), now)
            self._settle(now)

    def sound(self, attempt: int, piece: bytes, now: float) -> None:
        """Take in sound."""
        live = self._live.get(attempt)
        pcm = live.pieces.take(piece) if live else b""
        if live is None or not pcm:
            return
        self._take(attempt, live, pcm)
        if live.pieces.speaking(pcm):
            self._do(self._work.progressed(attempt, now=now), now)
            if attempt == self._voice:
                self._hold_s = None  # if it was late, it goes on
        self._settle(now)

    def word(
        self, attempt: int, text: str, *, start_s: float, end_s: float | None, now: float
    ) -> None:
        """Take in when a word is spoken, in seconds of the attempt's own sound."""
        live = self._live.get(attempt)
        word = _Word(text=text, start_s=start_s, end_s=end_s)
        if live is None or live.last == word:
            return
        live.last = word
        self._take(attempt, live, word)
        self._settle(now)

    def spoken(self, attempt: int, now: float) -> None:
        """Take in that the attempt has sent all it was given."""
        live = self._live.get(attempt)
        if live is None:
            return
        if attempt == self._voice and self._short():
            found = classify_symptom(Symptom.END_UNFINISHED)
            self.failed(attempt, failed(found, "tts", provider=live.provider), now)
            return
        self._ledger.done(attempt)
        self._do(self._work.finished(attempt, now=now), now)
        self._settle(now)

    def failed(self, attempt: int, failure: Failure, now: float) -> None:
        """Take in that an attempt is over."""
        if attempt not in self._live:
            return
        if attempt == self._voice and not self._ledger.owed:  # it has done what it was asked
            self._finish_voice(now)
            return
        self._drop(attempt)
        self._do(self._work.failed(attempt, failure, now=now, heard_words=self._said), now)
        self._settle(now)

    def tick(self, now: float) -> None:
        """Do what is due by the passing of time."""
        if self.over:
            return
        self._do(self._work.tick(now), now)
        idle_at = self._idle_at()
        if idle_at is not None and idle_at <= now:
            if self._closed:
                self._finish_voice(now)
            else:
                self.close(now)
        self._settle(now)

    def _take(self, attempt: int, live: _Live, what: bytes | _Word) -> None:
        if attempt != self._voice:
            live.held.append(what)
        elif isinstance(what, _Word):
            self._ledger.word(attempt, what.text, start_s=what.start_s, end_s=what.end_s)
        else:
            self._ledger.audio(attempt, len(what) / SAMPLE_BYTES / self._rate_hz)
            self._pcm += what

    def _do(self, steps: tuple[Step, ...], now: float) -> None:
        for step in steps:
            match step:
                case Start():
                    self._ask(step)
                case Win():
                    self._win(step)
                case Done():
                    self._live.pop(step.attempt, None)
                    self._finish(now)
                case Exhausted():
                    self._finish(now)
                case ended:
                    self._drop(ended.attempt)

    def _ask(self, start: Start) -> None:
        before = [n for n, live in self._live.items() if live.provider == start.provider]
        for attempt in before:  # a rung does one thing at a time
            self._drop(attempt)
        if self._voice is not None and self._hold_s is None:
            self._hold_s = self._ledger.keep_s
        self._live[start.attempt] = _Live(start.provider, Pieces(self._rate_hz))
        self.todo.append(
            Ask(
                provider=start.provider,
                attempt=start.attempt,
                text=self._ledger.rest,
                closed=self._closed,
            )
        )

    def _win(self, win: Win) -> None:
        live = self._live[win.attempt]
        kept = round(self._ledger.keep_s * self._rate_hz) - self._released
        del self._pcm[SAMPLE_BYTES * max(0, kept) :]
        self._ledger.begin(win.attempt, timed=self._word_times.get(win.provider, False))
        self._voice, self._hold_s, self._idle_since = win.attempt, None, None
        held, live.held = live.held, []
        for each in held:
            self._take(win.attempt, live, each)
        self.todo.append(Won(provider=win.provider))

    def _drop(self, attempt: int) -> None:
        live = self._live.pop(attempt, None)
        if live is None:
            return
        self.todo.append(Mute(provider=live.provider))
        if attempt == self._voice:
            self._hold_s = self._ledger.keep_s

    def _short(self) -> bool:
        """Whether a voice says that it is done without the sound of all its words."""
        words, sound_s = self._ledger.untold
        return words > 0 and sound_s < SHORT_AUDIO_S * words

    def _settle(self, now: float) -> None:
        """Let go what may go, and tell whether the voice owes sound."""
        if self.over or self._voice is None:
            return
        queued_s = self._line.queued_s(now)
        limit_s = self._ledger.let_go_s(queued_s) if self._hold_s is None else self._hold_s
        self._let_go(limit_s, now)
        live, owes = self._live.get(self._voice), not self._ledger.sent
        if live and live.owes != owes:
            live.owes = owes
            tell = self._work.owed if owes else self._work.idled
            self._idle_since = None if owes else now
            self._do(tell(self._voice, now=now), now)

    def _let_go(self, until_s: float, now: float) -> None:
        while (word := self._ledger.heard_at(self._said)) and word[1] <= until_s:
            self._play(word[1], now)
            self.todo.append(Said(word=word[0]))
            self._said += 1
        self._play(until_s, now)
        self._ledger.released(self._released / self._rate_hz)

    def _play(self, until_s: float, now: float) -> None:
        there = len(self._pcm) // SAMPLE_BYTES
        samples = min(round(until_s * self._rate_hz) - self._released, there)
        if until_s >= self._ledger.received_s:  # seconds are not samples: leave no odd one behind
            samples = there
        if samples <= 0:
            return
        pcm = bytes(self._pcm[: SAMPLE_BYTES * samples])
        del self._pcm[: SAMPLE_BYTES * samples]
        self._released += samples
        self._line.add(samples / self._rate_hz, now=now)
        self._until = Deadline(at=max(self._until.at, self._line.dry_at + PATIENCE_S))
        self._work.move(self._until)
        self.todo.append(Play(pcm=pcm))

    def _finish_voice(self, now: float) -> None:
        """Take a voice as done that has sent every word, whether it says so or not."""
        if self._voice is not None:
            self._ledger.done(self._voice)
            self._drop(self._voice)
            self._do(self._work.finished(self._voice, now=now), now)

    def _finish(self, now: float) -> None:
        """Let go all that has arrived whole, and be over."""
        self._let_go(self._ledger.keep_s, now)
        words = self._ledger.text.split()
        unsaid = self._ledger.rest
        upto = len(words) - len(unsaid.split())
        self.todo.extend(Said(word=word) for word in words[self._said : upto])
        for attempt in tuple(self._live):
            self._drop(attempt)
        self.todo.append(Over(unsaid=unsaid))
        self.over = True

    def _idle_at(self) -> float | None:
        """When a voice that owes nothing has been idle for long enough."""
        if self._idle_since is None or self._voice not in self._live:
            return None
        return self._idle_since + (DONE_S if self._closed else IDLE_S)

    def _drained_at(self) -> float | None:
        """When the line is so empty that half words are better than nothing."""
        if not self._pcm or self._hold_s is not None:
            return None
        return self._line.dry_at - LEAD_S + DRAIN_S
