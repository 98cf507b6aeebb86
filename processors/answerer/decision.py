"""Decides who answered, and when to speak; the rules are in `answerer_rules.py`.

`at` and `now` are monotonic, in seconds.
"""

from collections.abc import Callable, Mapping
from typing import Final

from processors.answerer.answerer_rules import Answerer, AnsweringRules, StopTalking
from processors.answerer.course_rules import Actions, AnsweringCourse, AnsweringState
from processors.answerer.phrase_rules import Cue

BEEP_TELLS: Final = frozenset(
    {AnsweringState.LISTENING, AnsweringState.PAUSING, AnsweringState.OPEN}
)
"""The states in which a beep may show that a mailbox has answered."""


class AnswererJudge:
    """Decides for one call: its methods record what is heard and return actions.

    Call `tick` at `wake_at`.
    """

    def __init__(self, rules: AnsweringRules, *, leaves_message: bool) -> None:
        self._course = AnsweringCourse(rules, leaves_message=leaves_message)

    @property
    def listens(self) -> bool:
        """Whether the answerer's words still belong to the greeting, before a conversation."""
        return self._course.state not in (AnsweringState.OPEN, AnsweringState.OVER)

    @property
    def over(self) -> bool:
        """Whether detection has ended."""
        return self._course.state is AnsweringState.OVER

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        return _due_at(self._course)

    def answered(self, now: float) -> None:
        """Begin: the call was answered.

        Ignored if detection has begun.
        """
        if self._course.state is AnsweringState.RINGING:
            self._course.listen(now)

    def voiced(self, at: float) -> None:
        """Record that speech began at `at`, but not before this round; ignored while it rings."""
        if self._course.state is not AnsweringState.RINGING:
            self._course.heard.voiced(max(at, self._course.round_at))

    def silent(self, at: float) -> None:
        """Record that speech ended at `at`.

        Ignored if no speech was in progress. Otherwise a conversation is watched for a machine for
        `overlap_s` more.
        """
        if self._course.heard.silent(at):
            self._course.watched_until = at + self._course.rules.overlap_s

    def words(self, text: str, now: float, *, final: bool) -> Actions:
        """Record a transcript of one utterance: all of it so far, or the final one.

        Return the actions. It is ignored before the call is answered, before any speech since then,
        and after the end.
        """
        course = self._course
        inactive = course.state in (AnsweringState.RINGING, AnsweringState.OVER)
        if inactive or not course.heard.spoken:
            return ()  # words without speech since the answer belong to early media
        course.heard.read(text, final=final)
        return self.tick(now)

    def beep(self, now: float) -> Actions:
        """Record that a single tone has ended; return the actions.

        There are none if it cannot be a mailbox's beep. After one, we leave the message or hang up.
        """
        course = self._course
        if course.state is AnsweringState.PARTING:
            return course.part()
        if course.state is AnsweringState.MAILBOX:
            return course.leave_message(now, at_end=True)
        if not _is_mailbox_beep(course, now):
            return ()
        stops = (StopTalking(),) if course.state is AnsweringState.OPEN else ()
        actions = course.decide(Answerer.VOICEMAIL, "beep", now)
        return (*actions, *stops, *course.leave_message(now, at_end=True))

    def carrier_says(self, answerer: str, now: float) -> Actions:
        """Record the carrier's verdict, which also means that the call was answered.

        Return the actions. `answerer` is a value of Twilio's `AnsweredBy`; others are ignored, and
        so is a late verdict.
        """
        course = self._course
        self.answered(now)
        if course.state not in (AnsweringState.LISTENING, AnsweringState.PAUSING):
            return ()
        if answerer == "human":
            return course.greet(Answerer.HUMAN, "carrier", now)
        if not answerer.startswith(("machine", "fax")):
            return ()
        actions = course.decide(Answerer.VOICEMAIL, "carrier", now)
        if answerer == "fax":
            return (*actions, *course.part())
        at_end = answerer.startswith("machine_end")
        return (*actions, *course.leave_message(now, at_end=at_end))

    def tick(self, now: float) -> Actions:
        """Return the actions that are due by now."""
        step = STEPS.get(self._course.state)
        return step(self._course, now) if step else ()


def _due_at(course: AnsweringCourse) -> float | None:
    """Return when to act: at a time limit, or sooner after enough silence; `None` if never."""
    limit_at, silence_s = _time_limits(course)
    quiet_at = course.heard.quiet_since if silence_s else None
    if limit_at is None or quiet_at is None:
        return limit_at
    return min(limit_at, quiet_at + silence_s)


def _time_limits(course: AnsweringCourse) -> tuple[float | None, float]:
    """Return when to decide at the latest, and after which silence sooner.

    The moment is monotonic, `None` for no limit; the silence is in seconds, 0 for none.
    """
    rules, heard, limit_at, silence_s = course.rules, course.heard, None, 0.0
    match course.state:
        case AnsweringState.LISTENING:
            limit_at, silence_s = _limit_at(course), heard.silence_s(rules)
        case AnsweringState.PAUSING:
            limit_at, silence_s = _talker_at(course), heard.silence_s(rules)
        case AnsweringState.ASKED:
            limit_at, silence_s = _talker_at(course), rules.human_silence_s
        case AnsweringState.MAILBOX:
            limit_at, silence_s = course.since + rules.beep_wait_s, _end_s(course)
        case AnsweringState.PARTING:
            recording_at = heard.recording_at(rules)
            limit_at = course.since + rules.talker_s if recording_at is None else recording_at
            silence_s = _end_s(course)
        case AnsweringState.OPEN:
            talks = heard.since is not None
            limit_at = course.since + rules.watch_s if talks else course.watched_until
        case AnsweringState.RINGING | AnsweringState.OVER:
            pass
    return limit_at, silence_s


def _end_s(course: AnsweringCourse) -> float:
    """Return the silence that ends what is probably a machine's greeting."""
    rules, heard = course.rules, course.heard
    ended = heard.cues.recorded and heard.speech_s >= rules.recording_s
    if ended or not course.by_words:
        return rules.no_beep_s
    return rules.beep_due_s if heard.cues.sure else rules.machine_silence_s


def _is_due(course: AnsweringCourse, now: float) -> bool:
    """Return whether the time limit, or the silence that ends the wait, has come."""
    due_at = _due_at(course)
    return due_at is not None and now >= due_at


def _limit_at(course: AnsweringCourse) -> float:
    """Return when listening ends without a result."""
    rules = course.rules
    return course.round_at + (rules.screened_s if course.screened else rules.decide_s)


def _talker_at(course: AnsweringCourse) -> float:
    """Return when we speak even if a person does not pause."""
    return course.round_at + course.rules.talker_s


def _is_mailbox_beep(course: AnsweringCourse, now: float) -> bool:
    """Return whether a beep is that of a mailbox, by the speech before it."""
    if course.state not in BEEP_TELLS:
        return False
    heard, rules = course.heard, course.rules
    spoke_s = heard.speech_until(now)
    if course.state is AnsweringState.OPEN:
        right_after = now < course.since + rules.overlap_s
        least_s = rules.least_speech_s if right_after else rules.human_speech_s
        enough = course.spoke_s > least_s or spoke_s > rules.human_speech_s
    else:
        enough = spoke_s >= rules.least_speech_s
    return heard.cues.beeps and (enough or heard.cues.hinted)


def _judge_speech(course: AnsweringCourse, now: float) -> Actions:
    """Return the actions for a definite phrase of a machine, or for a pause after speech.

    None while it is unclear and the time limit has not come. If a call-screening assistant asks us
    to hold, listening starts over.
    """
    heard = course.heard
    cue = heard.cues.definite
    if cue and not (cue is Cue.SCREENING and course.screened):  # the assistant was told before
        return _meet_machine(course, cue, now)
    if course.screened and Cue.HOLD in heard.cues.points and heard.since is None:
        course.listen(now)
        return ()
    if not heard.quiet_for(heard.silence_s(course.rules), now):
        return _judge_time(course, now)
    if course.state is AnsweringState.PAUSING:
        return course.open(now)
    short = heard.speech_s <= course.rules.human_speech_s
    found, why = (Answerer.HUMAN, "short_greeting") if short else (Answerer.UNDECIDED, "pause")
    return course.greet(found, why, now)


def _judge_time(course: AnsweringCourse, now: float) -> Actions:
    """Return the actions at the time limit, if there was no pause; none before it."""
    if course.state is AnsweringState.PAUSING:
        return course.open(now) if now >= _talker_at(course) else ()
    if now < _limit_at(course):
        return ()
    if course.heard.spoken:
        return course.await_pause("time", now)
    return course.greet(Answerer.UNDECIDED, "silence", now)


def _meet_machine(course: AnsweringCourse, cue: Cue, now: float) -> Actions:
    """Decide for a machine; if it is to be hung up on, also do what is due at once."""
    actions = course.meet_machine(cue, now)
    parts = course.state is AnsweringState.PARTING
    return (*actions, *_await_machine_end(course, now)) if parts else actions


def _await_machine_end(course: AnsweringCourse, now: float) -> Actions:
    """Return the actions while a machine's greeting runs, before we hang up.

    We hang up on a recording. An answerer who pauses sooner, or says a person's words, is greeted.
    """
    if course.heard.person_after_all:
        return course.take_back(now)
    if course.heard.is_recording(course.rules, now):
        return course.part()
    if not _is_due(course, now):
        return ()
    talks_on = course.heard.since is not None and course.heard.cues.sure
    return course.part() if talks_on else course.greet(Answerer.UNDECIDED, "words", now)


def _await_beep(course: AnsweringCourse, now: float) -> Actions:
    """Return the actions while we wait for a mailbox's beep.

    After a recorded greeting without a beep, the message is left; if the mailbox is full, we hang
    up. If the greeting may be a person's, we talk to them instead.
    """
    heard = course.heard
    if course.by_words and heard.person_after_all:
        return course.take_back(now)
    if Cue.FULL in heard.cues.points and heard.is_recording(course.rules, now):
        return course.part()
    if not _is_due(course, now):
        return ()
    talks_on = heard.since is not None and heard.cues.sure
    if course.by_words and not (talks_on or heard.is_recording(course.rules, now)):
        return course.greet(Answerer.UNDECIDED, "words", now)
    return course.leave_message(now, at_end=True)


def _tell_who(course: AnsweringCourse, now: float) -> Actions:
    """Tell an assistant who calls, when it pauses, unless a person speaks after all."""
    if course.heard.person_after_all:
        return course.take_back(now)
    return course.say_who(now) if _is_due(course, now) else ()


def _look_back(course: AnsweringCourse, now: float) -> Actions:
    """Return the actions if we have been talking to a machine after all.

    If that can no longer turn out, this ends the watch (`settle`).
    """
    heard, rules = course.heard, course.rules
    quiet = heard.since is None and now >= course.watched_until
    if quiet or now >= course.since + rules.watch_s:
        course.settle()
        return ()
    cue = heard.cues.certain
    if cue is None or heard.speech_until(now) < rules.talk_over_s:
        return ()
    if cue is Cue.SCREENING and course.screened:
        return ()
    return (StopTalking(), *_meet_machine(course, cue, now))


STEPS: Final[Mapping[AnsweringState, Callable[[AnsweringCourse, float], Actions]]] = {
    AnsweringState.LISTENING: _judge_speech,
    AnsweringState.PAUSING: _judge_speech,
    AnsweringState.ASKED: _tell_who,
    AnsweringState.MAILBOX: _await_beep,
    AnsweringState.PARTING: _await_machine_end,
    AnsweringState.OPEN: _look_back,
}
