"""Decides who has picked up, and when to begin: the rules stand in `calls/answering.py`."""

from enum import StrEnum

from calls.answering import (
    BY_CUE,
    Answerer,
    AnsweringAction,
    AnsweringRules,
    Decide,
    LeaveMessage,
    Open,
    PartFromMachine,
    SayWho,
    StopTalking,
)
from calls.answering_phrases import Cue
from calls.greeting_heard import GreetingHeard


class _State(StrEnum):
    RINGING = "ringing"
    LISTENING = "listening"
    PAUSING = "pausing"  # decided for a person who is still speaking
    OPEN = "open"
    ASKED = "asked"  # an assistant waits for our name
    MAILBOX = "mailbox"  # and its beep is awaited
    PARTING = "parting"  # from a machine, should no person's words come before its pause
    OVER = "over"


class AnswererJudge:
    """Decides for one call. Hand it what is heard, and `tick` it at `wake_at`."""

    def __init__(self, rules: AnsweringRules, *, leaves_message: bool) -> None:
        self._rules = rules
        self._leaves_message = leaves_message
        self._state = _State.RINGING
        self._heard = GreetingHeard()
        self._answered_at = 0.0
        self._round_at = 0.0  # when this round of listening began
        self._screened = False
        self._decided: Answerer | None = None
        self._by_words = False  # so that words can take it back
        self._full = False
        self._spoke_s = 0.0  # before we began
        self._machine_at = 0.0
        self._opened_at = 0.0
        self._watched_until = 0.0  # while nobody speaks

    @property
    def listens(self) -> bool:
        """Whether what is heard is the machine's or the person's first word, not yet a talk."""
        return self._state not in (_State.OPEN, _State.OVER)

    @property
    def over(self) -> bool:
        """Whether nothing that is heard changes anything any more."""
        return self._state is _State.OVER

    @property
    def wake_at(self) -> float | None:
        """The moment at which `tick` has something to do, or None."""
        rules, quiet_at = self._rules, self._heard.quiet_since
        due = {
            _State.LISTENING: (self._limit_at, self._heard.silence_s(rules)),
            _State.PAUSING: (self._talker_at, self._heard.silence_s(rules)),
            _State.ASKED: (self._talker_at, rules.human_silence_s),
            _State.MAILBOX: (self._machine_at + rules.beep_wait_s, rules.no_beep_s),
            _State.PARTING: (self._machine_at + rules.part_wait_s, rules.pause_s),
        }.get(self._state, (None, 0.0))
        if self._state is _State.OPEN:
            talking = self._heard.since is not None
            due = (self._opened_at + rules.watch_s if talking else self._watched_until, 0.0)
            quiet_at = None
        limit_at, silence_s = due
        if not silence_s or quiet_at is None:
            return limit_at
        return quiet_at + silence_s if limit_at is None else min(limit_at, quiet_at + silence_s)

    def answered(self, now: float) -> None:
        """Begin: the far end has picked up."""
        if self._state is _State.RINGING:
            self._state, self._answered_at = _State.LISTENING, now
            self._round_at = now

    def voiced(self, at: float) -> None:
        """Note that somebody speaks since `at`."""
        if self._state is not _State.RINGING:
            self._heard.voiced(max(at, self._round_at))

    def silent(self, at: float) -> None:
        """Note that nobody speaks since `at`."""
        if self._heard.silent(at):
            self._watched_until = at + self._rules.overlap_s

    def words(self, text: str, now: float, *, final: bool) -> tuple[AnsweringAction, ...]:
        """Read what was recognised: of an utterance in progress all so far, or all of one."""
        if self._state in (_State.RINGING, _State.OVER) or not self._heard.spoken:
            return ()  # words that come before any speech are of early media
        self._heard.read(text, final=final)
        return self.tick(now)

    def beep(self, now: float) -> tuple[AnsweringAction, ...]:
        """Note the end of a single tone."""
        if self._state is _State.PARTING:
            return self._part(self._decided or Answerer.VOICEMAIL)
        if self._state is _State.MAILBOX:
            return self._message()
        if not self._is_mailboxs(now):
            return ()
        stops = (StopTalking(),) if self._state is _State.OPEN else ()
        return (*self._decide(Answerer.VOICEMAIL, "beep", now), *stops, *self._message())

    def carrier_says(self, answerer: str, now: float) -> tuple[AnsweringAction, ...]:
        """Note a carrier's verdict, as Twilio's `AnsweredBy` has it; unknown says nothing."""
        if self._state not in (_State.RINGING, _State.LISTENING, _State.PAUSING):
            return ()
        self.answered(now)
        if answerer == "human":
            return (*self._decide(Answerer.HUMAN, "carrier", now), *self._open(now))
        if not answerer.startswith(("machine", "fax")):
            return ()
        said = self._decide(Answerer.VOICEMAIL, "carrier", now)
        if answerer == "fax":
            return (*said, *self._part(Answerer.VOICEMAIL))
        at_end = answerer.startswith("machine_end")
        return (*said, *(self._message() if at_end else self._mailbox(now)))

    def tick(self, now: float) -> tuple[AnsweringAction, ...]:
        """Do what is due."""
        due = {
            _State.LISTENING: self._judge,
            _State.PAUSING: self._judge,
            _State.ASKED: self._tell_who,
            _State.MAILBOX: self._await_beep,
            _State.PARTING: self._await_pause,
            _State.OPEN: self._look_back,
        }.get(self._state)
        return due(now) if due else ()

    @property
    def _limit_at(self) -> float:
        """When listening ends without a result."""
        limit_s = self._rules.screened_s if self._screened else self._rules.decide_s
        return self._round_at + limit_s

    @property
    def _talker_at(self) -> float:
        """When somebody who never pauses is spoken to all the same."""
        return self._round_at + self._rules.talker_s

    def _is_mailboxs(self, now: float) -> bool:
        """Say whether a beep is a mailbox's, by what was heard before it."""
        heard, rules = self._heard, self._rules
        spoke_s = heard.speech_until(now)
        if self._state is _State.OPEN:
            right_behind = now < self._opened_at + rules.overlap_s
            least_s = rules.least_speech_s if right_behind else rules.human_speech_s
            enough = self._spoke_s > least_s or spoke_s > rules.human_speech_s
        else:
            enough = spoke_s >= rules.least_speech_s
        listens = self._state in (_State.LISTENING, _State.PAUSING, _State.OPEN)
        return listens and heard.cues.beeps and (enough or heard.cues.hinted)

    def _judge(self, now: float) -> tuple[AnsweringAction, ...]:
        heard = self._heard
        cue = heard.cues.definite
        if cue and not (cue is Cue.SCREENING and self._screened):  # it has been told by then
            return self._machine(cue, now)
        if self._screened and Cue.HOLD in heard.cues.points and heard.since is None:
            self._begin_round(now)
            return ()
        if heard.quiet_for(heard.silence_s(self._rules), now):
            return self._person(now)
        return self._time(now)

    def _time(self, now: float) -> tuple[AnsweringAction, ...]:
        """See whether there is time to listen on."""
        heard = self._heard
        if self._state is _State.PAUSING:
            return self._open(now) if now >= self._talker_at else ()
        if now < self._limit_at:
            return ()
        why = "time" if heard.spoken else "silence"
        said = self._decide(Answerer.UNDECIDED, why, now)
        if not heard.spoken:
            return (*said, *self._open(now))
        self._state = _State.PAUSING
        return said

    def _person(self, now: float) -> tuple[AnsweringAction, ...]:
        if self._state is _State.PAUSING:
            return self._open(now)
        short = self._heard.speech_s <= self._rules.human_speech_s
        found, why = (Answerer.HUMAN, "short_greeting") if short else (Answerer.UNDECIDED, "pause")
        return (*self._decide(found, why, now), *self._open(now))

    def _machine(self, cue: Cue, now: float) -> tuple[AnsweringAction, ...]:
        answerer = BY_CUE[cue]
        self._full = self._full or cue is Cue.FULL
        self._by_words, self._machine_at = True, now
        said = self._decide(answerer, "words", now)
        if answerer is Answerer.SCREENING:
            self._state, self._round_at = _State.ASKED, now
            return said
        if answerer is Answerer.VOICEMAIL and self._leaves_message and not self._full:
            self._state = _State.MAILBOX
            return said
        self._state = _State.PARTING
        return (*said, *self._await_pause(now))

    def _mailbox(self, now: float) -> tuple[AnsweringAction, ...]:
        if self._full or not self._leaves_message:
            return self._part(Answerer.VOICEMAIL)
        self._state, self._machine_at = _State.MAILBOX, now
        return ()

    def _await_pause(self, now: float) -> tuple[AnsweringAction, ...]:
        """Part when it is certain, or when whoever it is has no more to say."""
        if self._heard.person_after_all:
            return self._take_back(now)
        waited = now >= self._machine_at + self._rules.part_wait_s
        over = waited or self._heard.quiet_for(self._rules.pause_s, now)
        if over and not self._heard.cues.sure:
            return self._speak_all_the_same(now)
        part = over or self._heard.cues.certain
        return self._part(self._decided or Answerer.VOICEMAIL) if part else ()

    def _take_back(self, now: float) -> tuple[AnsweringAction, ...]:
        """Speak to somebody whose further words are a person's."""
        self._state, self._round_at = _State.PAUSING, now
        return self._decide(Answerer.UNDECIDED, "words", now)

    def _speak_all_the_same(self, now: float) -> tuple[AnsweringAction, ...]:
        """Speak to whoever said only what people say, too, and has no more to say."""
        return (*self._decide(Answerer.UNDECIDED, "words", now), *self._open(now))

    def _await_beep(self, now: float) -> tuple[AnsweringAction, ...]:
        if self._by_words and self._heard.person_after_all:
            return self._take_back(now)
        if Cue.FULL in self._heard.cues.points:
            return self._part(Answerer.VOICEMAIL)
        waited = now >= self._machine_at + self._rules.beep_wait_s
        if not waited and not self._heard.quiet_for(self._rules.no_beep_s, now):
            return ()
        sure = not self._by_words or self._heard.cues.sure
        return self._message() if sure else self._speak_all_the_same(now)

    def _look_back(self, now: float) -> tuple[AnsweringAction, ...]:
        """See whether whom we talk to is a machine after all."""
        heard, rules = self._heard, self._rules
        quiet = heard.since is None and now >= self._watched_until
        if quiet or now >= self._opened_at + rules.watch_s:
            self._state = _State.OVER
            return ()
        cue = heard.cues.certain
        if cue is None or heard.speech_until(now) < rules.talk_over_s:
            return ()
        if cue is Cue.SCREENING and self._screened:
            return ()
        return (StopTalking(), *self._machine(cue, now))

    def _tell_who(self, now: float) -> tuple[AnsweringAction, ...]:
        if self._heard.person_after_all:
            return self._take_back(now)
        late = now >= self._talker_at
        if not late and not self._heard.quiet_for(self._rules.human_silence_s, now):
            return ()
        self._screened = True
        self._begin_round(now)
        return (SayWho(),)

    def _begin_round(self, now: float) -> None:
        self._state, self._round_at, self._heard = _State.LISTENING, now, GreetingHeard()

    def _decide(self, answerer: Answerer, why: str, now: float) -> tuple[Decide, ...]:
        if answerer is self._decided:
            return ()
        revised, self._decided = self._decided is not None, answerer
        after_s = round(now - self._answered_at, 3)
        return (Decide(answerer=answerer, why=why, after_s=after_s, revised=revised),)

    def _open(self, now: float) -> tuple[AnsweringAction, ...]:
        self._state, self._opened_at = _State.OPEN, now
        self._watched_until = now + self._rules.overlap_s
        self._spoke_s = self._heard.speech_until(now)
        self._heard.forget_speech()
        return (Open(),)

    def _message(self) -> tuple[AnsweringAction, ...]:
        if self._full or not self._leaves_message:
            return self._part(Answerer.VOICEMAIL)
        self._state = _State.OVER
        return (LeaveMessage(),)

    def _part(self, answerer: Answerer) -> tuple[AnsweringAction, ...]:
        self._state = _State.OVER
        return (PartFromMachine(answerer=answerer),)
