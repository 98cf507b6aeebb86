"""What was heard from the far end that picked up: for how long, how long ago, which words."""

from dataclasses import dataclass, field

from processors.answerer.answerer_rules import AnsweringRules
from processors.answerer.word_rules import Cues, read_cues


@dataclass(slots=True, kw_only=True)
class GreetingHeard:
    """What was heard in this round of listening."""

    speech_s: float = 0.0  # of closed spans
    since: float | None = None  # somebody is speaking
    ended: float | None = None  # the last span
    words: str = ""  # final
    interim: str = ""
    cues: Cues = field(default_factory=Cues)

    def voiced(self, at: float) -> None:
        """Note that somebody speaks since `at`."""
        if self.since is None:
            self.since = at

    def silent(self, at: float) -> bool:
        """Note that nobody speaks since `at`; False: nobody did."""
        if self.since is None:
            return False
        self.speech_s += max(0.0, at - self.since)
        self.since, self.ended = None, at
        return True

    def read(self, text: str, *, final: bool) -> None:
        """Note what was recognised: of an utterance in progress all so far, or all of one."""
        if final:
            self.words, self.interim = f"{self.words} {text}".strip(), ""
        else:
            self.interim = text
        self.cues = read_cues(f"{self.words} {self.interim}")

    @property
    def person_after_all(self) -> bool:
        """Whether a person's words stand against what a machine's had decided."""
        return self.cues.person > 0 and self.cues.definite is None

    def silence_s(self, rules: AnsweringRules) -> float:
        """Return how much silence makes it our turn."""
        if self.cues.hinted:
            return rules.machine_silence_s
        if self.speech_s > rules.human_speech_s:
            return rules.pause_s
        hurried = self.speech_s <= rules.hello_s or self.cues.person > 0
        return rules.human_silence_s if hurried else rules.pause_s

    @property
    def spoken(self) -> bool:
        """Whether anybody has spoken."""
        return self.ended is not None or self.since is not None

    @property
    def quiet_since(self) -> float | None:
        """Since when nobody speaks who did; None: somebody does, or nobody has."""
        return self.ended if self.since is None else None

    def speech_until(self, now: float) -> float:
        """Return the seconds of speech by now."""
        return self.speech_s + (0.0 if self.since is None else max(0.0, now - self.since))

    def forget_speech(self) -> None:
        """Count speech from now on; the words stay."""
        self.speech_s = 0.0

    def quiet_for(self, silence_s: float, now: float) -> bool:
        """Say whether nobody has spoken for so long, since the last word."""
        since = self.quiet_since  # added as `wake_at` adds: no rounding stands between the two
        return since is not None and now >= since + silence_s
