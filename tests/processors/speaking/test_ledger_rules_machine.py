"""Every word once, wherever voices die, as the caller would hear it.

The machine plays the voices: it knows exactly which sound is which word, sends sound and word times
in any order and any portions, lets voices die at any sample, and keeps the sound that a leg keeps.
"""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from processors.speaking.ledger_rules import MARGIN_S, ROUNDING_S, UNTIMED_S, SpeechLedger
from tests.processors.speaking.test_ledger_rules import heard
from tests.thoroughness import promised_machine

WORDS = ["We", "are", "open,", "no", "no", "$5", "€", "twenty-one", "—", "the", "there.", "a"]
TINY = 1e-6


@dataclass
class Voice:
    """A voice's speech and its progress."""

    number: int
    base_s: float
    ends: bool  # reports when words end, not only when they begin
    plan: list[tuple[int, float, float]] = field(default_factory=list[tuple[int, float, float]])
    sent_s: float = 0.0
    told: int = 0

    @property
    def length_s(self) -> float:
        return self.plan[-1][2] if self.plan else 0.0


class Machine(RuleBasedStateMachine):
    @initialize(opening=st.sampled_from([[], ["—", "We", "are", "open,"]]))
    def begin(self, opening: list[str]) -> None:
        self.ledger = SpeechLedger()
        self.words: list[str] = []
        self.audible: list[int] = []  # the words the caller will have heard, by number
        self.released_s = 0.0
        self.drained_s = -1.0  # up to here before silence, more than is surely whole
        self.lengths = iter(range(10_000))
        self.voice = Voice(number=1, base_s=0.0, ends=True)
        self.ledger.start_attempt(1)
        if opening:
            self.hand_over(opening)

    def _plan(self, first: int) -> None:
        """Let the voice plan to say the words from this one on."""
        for number in range(first, len(self.words)):
            if self.words[number] == "—":
                continue
            length_s = 0.08 + 0.13 * (next(self.lengths) % 5)
            pause_s = 0.25 * (next(self.lengths) % 2)
            start_s = self.voice.length_s + (pause_s if self.voice.plan else 0.0)
            self.voice.plan.append((number, start_s, start_s + length_s))

    @rule(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=6))
    def hand_over(self, words: list[str]) -> None:
        first = len(self.words)
        self.words += words
        self.ledger.hand_over(" " + " ".join(words) + " ")
        self._plan(first)

    @rule(more_s=st.sampled_from([0.02, 0.05, 0.1, 0.35, 2.0]))
    def send_sound(self, more_s: float) -> None:
        # Portions add up to a hair more than their sum: so stop short of where times are given up.
        untold_s = min(self.voice.length_s, UNTIMED_S - TINY)
        limit_s = self.voice.length_s if self.voice.told else untold_s
        more_s = min(more_s, limit_s - self.voice.sent_s)
        if more_s > 0:
            self.voice.sent_s += more_s
            self.ledger.audio(self.voice.number, more_s)

    @precondition(lambda self: self.voice.told < len(self.voice.plan))
    @rule(words=st.integers(1, 5))
    def send_times(self, words: int) -> None:
        for number, start_s, end_s in self.voice.plan[self.voice.told :][:words]:
            self.ledger.word(
                self.voice.number,
                self.words[number],
                start_s=start_s,
                end_s=end_s if self.voice.ends else None,
            )
            self.voice.told += 1

    @rule(queued_s=st.sampled_from([1.0, 0.0]))
    def let_go(self, queued_s: float) -> None:
        releasable_s, keep_s = self.ledger.releasable_s(queued_s=queued_s), self.ledger.keep_s
        self.drained_s = releasable_s if releasable_s > keep_s else self.drained_s
        self.released_s = max(self.released_s, releasable_s)
        self.ledger.released_s = self.released_s

    @precondition(lambda self: self.voice.plan and self.voice.told == len(self.voice.plan))
    @rule()
    def finish(self) -> None:
        self.ledger.audio(self.voice.number, self.voice.length_s - self.voice.sent_s)
        self.voice.sent_s = self.voice.length_s
        self.ledger.done(self.voice.number)

        assert self.ledger.rest == ""

    @rule(ends=st.booleans())
    def die(self, ends: bool) -> None:  # noqa: FBT001  hypothesis calls it by keyword
        old, keep_s, rest = self.voice, self.ledger.keep_s, self.ledger.rest
        self._hear(keep_s, rest)
        self.voice = Voice(number=old.number + 1, base_s=keep_s, ends=ends)

        assert self.ledger.start_attempt(self.voice.number) == rest
        words = rest.split()
        assert words == self.words[len(self.words) - len(words) :]
        self._plan(len(self.words) - len(words))

    def _hear(self, keep_s: float, rest: str) -> None:
        """Record the audible part of the current voice if its sound is kept up to here.

        Sound released before silence may end inside a word, or after one that is not known to have
        ended: such a word is said again.
        """
        assert self.released_s <= keep_s + TINY
        drained = keep_s <= self.drained_s + TINY
        upto_s = min(keep_s - self.voice.base_s, self.voice.sent_s) + ROUNDING_S + TINY
        first = len(self.words) - len(rest.split())  # that is said again
        for at, (number, start_s, end_s) in enumerate(self.voice.plan):
            cut_inside = start_s + ROUNDING_S + TINY * 2 < upto_s < end_s
            assert not cut_inside or drained, "half a word is heard"
            if number < first and end_s <= upto_s:
                self.audible.append(number)
            elif end_s <= upto_s:
                assert drained, "a word is heard twice"
                assert not self._surely_came(at), "a word that has surely come is heard twice"

    def _surely_came(self, at: int) -> bool:
        """Return whether the voice has reported a word's end, and sent it with the margin."""
        voice = self.voice
        if voice.ends:
            return at < voice.told and voice.plan[at][2] + MARGIN_S + TINY <= voice.sent_s
        return at + 1 < voice.told and voice.plan[at + 1][1] + MARGIN_S + TINY <= voice.sent_s

    @rule()
    def hear_late_words(self) -> None:
        before = (self.ledger.rest, self.ledger.keep_s, self.ledger.received_s)
        self.ledger.audio(self.voice.number - 1, 9.0)
        self.ledger.word(self.voice.number - 1, "open", start_s=0.0, end_s=0.1)
        self.ledger.done(self.voice.number - 1)

        assert before == (self.ledger.rest, self.ledger.keep_s, self.ledger.received_s)

    @invariant()
    def what_is_kept_has_arrived(self) -> None:
        assert self.ledger.keep_s <= self.ledger.received_s + TINY

    @invariant()
    def what_was_heard_is_how_it_begins(self) -> None:
        said = heard(self.ledger, self.ledger.keep_s).split()

        assert said == self.words[: len(said)]
        assert len(said) <= len(self.words)

    def teardown(self) -> None:
        """A last voice says the rest: every word was heard once, in order."""
        if not hasattr(self, "ledger"):
            return
        self.die(ends=True)
        self.send_times(len(self.voice.plan))
        if self.voice.plan:
            self.finish()
        self._hear(self.ledger.keep_s, self.ledger.rest)

        assert self.audible == [n for n, word in enumerate(self.words) if word != "—"]
        assert heard(self.ledger, 9e9) == " ".join(self.words) or "—" in self.words[-1:]


TestLedger = Machine.TestCase
TestLedger.settings = promised_machine
