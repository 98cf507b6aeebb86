"""Who has picked up, decided from sound alone."""
# ruff: noqa: RUF001 - letters of other alphabets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.answerer.answerer_rules import (
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
from processors.answerer.decision import AnswererJudge

RULES = AnsweringRules()
TONE = "Please leave a message after the tone."
TAPE = f"You have reached the voicemail of Tom. I cannot come to the phone. {TONE}"


class Line:
    """A far end by its seconds: what is heard, and the actions."""

    def __init__(self, *, leaves_message: bool = True, answered_at: float | None = 0.0) -> None:
        self.judge = AnswererJudge(RULES, leaves_message=leaves_message)
        self.done: list[tuple[float, AnsweringAction]] = []
        if answered_at is not None:
            self.judge.answered(answered_at)

    def wait(self, until: float) -> "Line":
        """Advance time through every due moment."""
        at: float | None = None
        for _ in range(100):  # a wake-up without progress would repeat for ever
            at = self.judge.wake_at
            if at is None or at > until:
                break
            self.note(at, self.judge.tick(at))
        else:
            raise AssertionError(f"woken again and again at {at}")
        self.note(until, self.judge.tick(until))
        return self

    def speech(self, begin: float, end: float) -> "Line":
        self.wait(begin).judge.voiced(begin)
        self.wait(end).judge.silent(end)
        return self

    def begin(self, at: float) -> "Line":
        self.wait(at).judge.voiced(at)
        return self

    def words(self, text: str, at: float, *, final: bool = False) -> "Line":
        self.wait(at)
        self.note(at, self.judge.words(text, at, final=final))
        return self

    def beep(self, at: float) -> "Line":
        self.wait(at)
        self.note(at, self.judge.beep(at))
        return self

    def carrier(self, says: str, at: float) -> "Line":
        self.wait(at)
        self.note(at, self.judge.carrier_says(says, at))
        return self

    def note(self, at: float, actions: tuple[AnsweringAction, ...]) -> None:
        self.done += [(round(at, 3), action) for action in actions]

    @property
    def verdicts(self) -> list[tuple[Answerer, str]]:
        return [(each.answerer, each.why) for _, each in self.done if isinstance(each, Decide)]

    @property
    def steps(self) -> list[tuple[float, str]]:
        return [(at, type(each).__name__) for at, each in self.done if not isinstance(each, Decide)]


def test_a_short_word_and_silence_are_a_person_who_is_spoken_to_at_once() -> None:
    line = Line().speech(0.6, 1.0).wait(9.0)

    assert line.verdicts == [(Answerer.HUMAN, "short_greeting")]
    assert line.steps == [(1.5, "Open")]


def test_a_silent_answerer_is_spoken_to_within_three_seconds() -> None:
    line = Line().wait(9.0)

    assert line.verdicts == [(Answerer.UNDECIDED, "silence")]
    assert line.steps == [(RULES.decide_s, "Open")]


def test_a_long_greeting_is_undecided_in_time_and_spoken_to_in_its_pause() -> None:
    line = Line().speech(0.4, 4.4).wait(9.0)

    assert line.verdicts == [(Answerer.UNDECIDED, "time")]
    assert line.steps == [(4.4 + RULES.pause_s, "Open")]


def test_an_answerer_who_never_pauses_is_spoken_to_anyway() -> None:
    line = Line().begin(0.4).wait(20.0)

    assert line.steps == [(RULES.talker_s, "Open")]


def test_the_message_is_left_after_the_beep() -> None:
    line = Line().begin(0.3).words("I can't come to the phone, please leave", 2.0)
    line.wait(5.0).judge.silent(5.0)
    line.beep(6.0).wait(20.0)

    assert line.verdicts == [(Answerer.VOICEMAIL, "words")]
    assert line.steps == [(6.0, "LeaveMessage")]


def test_a_recording_without_a_beep_gets_the_message_after_its_silence() -> None:
    line = Line().begin(0.3).words(TAPE, 2.0)
    line.wait(8.0).judge.silent(8.0)
    line.wait(20.0)

    assert line.steps == [(8.0 + RULES.no_beep_s, "LeaveMessage")]


@pytest.mark.parametrize("leaves_message", [True, False])
def test_a_short_greeting_without_a_beep_is_answered_in_doubt(*, leaves_message: bool) -> None:
    line = Line(leaves_message=leaves_message).begin(0.3).words(TONE, 2.0)
    line.wait(5.0).judge.silent(5.0)
    line.wait(20.0)

    assert line.verdicts[-1] == (Answerer.UNDECIDED, "words")
    assert line.steps == [(5.0 + RULES.beep_due_s, "Open")]


def test_a_beep_that_comes_late_ends_the_doubt() -> None:
    line = Line().begin(0.3).words(TONE, 2.0)
    line.wait(5.0).judge.silent(5.0)
    line.beep(7.6)

    assert [name for _, name in line.steps] == ["Open", "StopTalking", "LeaveMessage"]


def test_waiting_for_an_endless_mailbox_is_bounded() -> None:
    line = Line().begin(0.3).words(TONE, 2.0).wait(60.0)

    assert line.steps == [(2.0 + RULES.beep_wait_s, "LeaveMessage")]


def test_without_a_message_a_recording_is_hung_up_on_while_it_speaks() -> None:
    line = Line(leaves_message=False).begin(0.3).words(TAPE, 2.0).wait(20.0)

    left = (0.3 + RULES.recording_s, PartFromMachine(answerer=Answerer.VOICEMAIL))
    assert line.done[-1] == left


def test_a_full_mailbox_gets_no_message() -> None:
    line = Line().begin(0.3).words("The mailbox is full and cannot accept messages.", 2.0)
    line.wait(20.0)

    left = (0.3 + RULES.recording_s, PartFromMachine(answerer=Answerer.VOICEMAIL))
    assert line.done[-1] == left


def test_a_beep_after_unrecognised_speech_is_a_mailbox() -> None:
    line = Line().speech(0.3, 2.9).beep(3.4).wait(9.0)

    assert line.verdicts[-1] == (Answerer.VOICEMAIL, "beep")
    assert line.steps == [(3.4, "LeaveMessage")]


def test_a_beep_alone_belongs_to_the_line() -> None:
    line = Line().beep(0.3).speech(0.9, 1.4).wait(9.0)

    assert line.verdicts == [(Answerer.HUMAN, "short_greeting")]


def test_a_menu_is_hung_up_on() -> None:
    line = Line().begin(0.2).words("Thank you for calling. For sales, press one.", 2.9).wait(9.0)

    assert line.done[-1][1] == PartFromMachine(answerer=Answerer.MENU)


def test_early_media_does_not_count() -> None:
    line = Line(answered_at=None)
    line.judge.voiced(1.0)
    line.words("The person you have called is not available, leave a message after the tone", 3.0)
    line.beep(3.5)
    line.judge.silent(4.0)
    line.judge.answered(10.0)
    line.speech(10.5, 10.9).wait(20.0)

    assert line.verdicts == [(Answerer.HUMAN, "short_greeting")]
    assert line.steps == [(11.4, "Open")]


def test_late_words_of_early_media_do_not_count() -> None:
    line = Line(answered_at=None)
    line.judge.answered(10.0)
    line.words("The number you have dialed is busy, speak after the tone", 10.4, final=True)
    line.speech(11.0, 11.4).wait(20.0)

    assert line.verdicts == [(Answerer.HUMAN, "short_greeting")]


def test_an_assistant_hears_who_calls_in_its_pause_and_then_a_person_speaks() -> None:
    line = Line().begin(0.2)
    line.words("Hi, if you record your name and reason for calling, I'll see", 2.6)
    line.wait(5.0).judge.silent(5.0)
    line.speech(17.0, 17.5).words("Hello?", 17.6, final=True).wait(30.0)

    assert line.steps == [(5.5, "SayWho"), (18.0, "Open")]
    assert line.verdicts == [
        (Answerer.SCREENING, "words"),
        (Answerer.HUMAN, "short_greeting"),
    ]


def test_an_assistant_that_asks_us_to_wait_is_waited_for() -> None:
    line = Line().begin(0.2).words("Say your name and why you're calling.", 2.6, final=True)
    line.wait(3.0).judge.silent(3.0)
    line.speech(8.0, 9.5).words("Thanks. Please stay on the line.", 9.6, final=True)
    line.wait(20.0)

    assert line.steps == [(3.5, "SayWho")]


def test_an_assistant_followed_by_a_mailbox_gets_the_message() -> None:
    line = Line().begin(0.2).words("State your name and the reason for your call", 2.6, final=True)
    line.wait(3.0).judge.silent(3.0)
    line.begin(9.0).words("This person is not available. " + TONE, 12.0, final=True)
    line.wait(12.5).judge.silent(12.5)
    line.beep(13.2)

    assert line.steps == [(3.5, "SayWho"), (13.2, "LeaveMessage")]


def test_a_machine_that_paused_is_found_while_it_talks_over_us() -> None:
    line = Line().speech(0.3, 0.8).begin(1.6)
    line.words("Hello. You have reached Tom. Please leave a message after the tone", 4.2)
    line.wait(5.0).judge.silent(5.0)
    line.beep(5.9)

    assert line.verdicts == [(Answerer.HUMAN, "short_greeting"), (Answerer.VOICEMAIL, "words")]
    assert line.steps == [(1.3, "Open"), (4.2, "StopTalking"), (5.9, "LeaveMessage")]


def test_the_shortest_mailbox_is_found_by_its_beep() -> None:
    line = Line().speech(0.3, 1.2).wait(1.8).words("Leave a message.", 1.8, final=True)

    assert line.beep(2.3).steps[-1] == (2.3, "LeaveMessage")


@pytest.mark.parametrize(
    "said",
    [
        "Oh, I never listen to my voicemail, leave a message after the tone, they say",
        "Press one, press two, that is all one ever hears",
    ],
)
def test_words_during_a_talk_do_not_turn_an_answerer_into_a_machine(said: str) -> None:
    line = Line().speech(0.5, 0.9).wait(6.0).begin(6.0)
    line.words("Hello?", 1.2, final=True).words(said, 9.0, final=True)
    line.judge.silent(9.0)
    line.beep(9.5).wait(60.0)

    assert line.verdicts == [(Answerer.HUMAN, "short_greeting")]
    assert line.steps == [(1.4, "Open")]


def test_a_person_who_offers_to_take_a_message_is_a_person() -> None:
    line = Line().begin(0.3)
    line.words("Doctor Smith's office, she is not available, can I take a message?", 3.4)
    line.words("... would you like to leave a message?", 4.0, final=True)
    line.wait(4.0).judge.silent(4.0)
    line.wait(20.0)

    assert {each for each, _ in line.verdicts} == {Answerer.UNDECIDED}
    assert line.steps[0][1] == "Open"


BOTH_SAY = "Mister Brown is not available, you can leave a message"


@pytest.mark.parametrize("leaves_message", [True, False])
def test_an_answerer_with_ambiguous_words_is_spoken_to_in_the_end(*, leaves_message: bool) -> None:
    line = Line(leaves_message=leaves_message).begin(0.3).words(BOTH_SAY, 2.5)
    line.wait(3.0).judge.silent(3.0)
    line.wait(20.0)

    assert line.verdicts == [(Answerer.VOICEMAIL, "words"), (Answerer.UNDECIDED, "words")]
    assert [name for _, name in line.steps] == ["Open"]


@pytest.mark.parametrize("leaves_message", [True, False])
@pytest.mark.parametrize(
    ("first", "then"),
    [
        (BOTH_SAY, ", can I help you myself?"),
        ("Mister Brown cannot take your call", "may I ask who is calling?"),
        ("For orders people mostly press", " sorry, how can I help you?"),
    ],
)
def test_a_machines_words_are_taken_back_by_a_persons(
    first: str, then: str, *, leaves_message: bool
) -> None:
    line = Line(leaves_message=leaves_message).begin(0.3).words(first, 2.5)
    line.words(f"{first} {then}", 4.0, final=True)
    line.wait(4.1).judge.silent(4.1)
    line.wait(20.0)

    assert [each for each, _ in line.verdicts][-1] is Answerer.UNDECIDED
    assert [name for _, name in line.steps] == ["Open"]


SAID_BY_PEOPLE = (
    "Hello? I can't take your call right now, I'm driving.",
    "Leave me a message on WhatsApp.",
    "State your name please.",
    "What is the reason for your call?",
    "I can't talk, leave me a message, I'll call you back.",
    "Press one? What do you mean press one?",
    "My mailbox is full, so call me again tomorrow.",
    "Speak after the tone? What tone?",
    "The number you have dialed is not in service, ha ha, no, it's me.",
    "If this is an emergency I'll come, otherwise leave a message at the office.",
    "Hold on, please stay on the line, I am in the car.",
    "Para hablar conmigo, ¿pulse uno? ¿Qué es esto?",
    "Какой автоответчик, нажмите один? Вы о чём?",
    "Drücken Sie die Eins? Was soll ich drücken?",
    "Meine Mailbox ist voll, rufen Sie morgen wieder an.",
    "Ich kann gerade nicht sprechen, hinterlassen Sie mir eine Nachricht auf WhatsApp.",
    "Nennen Sie bitte Ihren Namen.",
    "Appuyez sur un ? Comment ça, appuyez sur un ?",
    "Ma messagerie est pleine, rappelez demain.",
    "Non posso rispondere, sto guidando, mi lasci un messaggio.",
    "Não posso atender, estou dirigindo.",
    "Ik kan niet opnemen, spreek een bericht in.",
    "Nie mogę rozmawiać, prowadzę.",
    "Şu anda cevap veremiyorum, mesaj bırak.",
    "No puedo contestar, deje un mensaje por WhatsApp.",
    "Не могу сейчас ответить, оставьте сообщение.",
)


HANGS_UP = {"PartFromMachine", "LeaveMessage"}


@pytest.mark.parametrize("leaves_message", [True, False])
@pytest.mark.parametrize("lasts_s", [1.2, 2.0, 4.0, 6.5])
@pytest.mark.parametrize("said", SAID_BY_PEOPLE)
def test_a_person_is_spoken_to_whatever_they_say(
    said: str, lasts_s: float, *, leaves_message: bool
) -> None:
    ended = 0.3 + lasts_s
    line = Line(leaves_message=leaves_message).begin(0.3).words(said, ended - 0.1)
    line.judge.silent(ended)
    line.words(said, ended + 0.2, final=True).wait(40.0)

    assert {name for _, name in line.steps} <= {"Open", "SayWho"}
    assert line.steps[-1][1] == "Open"
    assert line.steps[0][0] <= ended + RULES.beep_due_s + 0.21
    assert line.verdicts[-1][0] in (Answerer.HUMAN, Answerer.UNDECIDED)


def test_a_person_may_speak_for_long_in_words_that_people_use() -> None:
    said = (
        "Hello? I can't take your call right now, I'm driving, please send me a text or leave me a"
        " message on WhatsApp, and I'll call you back when I return"
    )
    line = Line(leaves_message=False).begin(0.3).words(said, 9.0)
    line.wait(10.0).judge.silent(10.0)
    line.wait(40.0)

    assert [name for _, name in line.steps] == ["Open"]


@pytest.mark.parametrize("leaves_message", [True, False])
@pytest.mark.parametrize("said", SAID_BY_PEOPLE)
def test_a_person_who_interrupts_us_is_not_hung_up_on(said: str, *, leaves_message: bool) -> None:
    line = Line(leaves_message=leaves_message).speech(0.3, 0.8).begin(2.0)
    line.words("Hello?", 1.0, final=True).words(said, 4.4)
    line.wait(5.0).judge.silent(5.0)
    line.wait(40.0)

    assert HANGS_UP.isdisjoint(name for _, name in line.steps)


def test_a_menu_that_talks_over_us_is_hung_up_on() -> None:
    line = Line().speech(0.2, 2.0).begin(3.7)
    line.words("Thank you for calling Acme. For sales, press one. For service, press two.", 6.0)
    line.wait(20.0)

    assert [name for _, name in line.steps] == ["Open", "StopTalking", "PartFromMachine"]
    assert line.verdicts[-1][0] is Answerer.MENU


@pytest.mark.parametrize(
    "said",
    [sentence for sentence in SAID_BY_PEOPLE if "essag" in sentence and "leine" not in sentence],
)
def test_the_same_words_before_a_beep_are_a_mailbox(said: str) -> None:
    line = Line().begin(0.3).words(said, 2.2, final=True)
    line.wait(2.3).judge.silent(2.3)
    line.beep(2.7).wait(20.0)

    assert line.verdicts[-1][0] is Answerer.VOICEMAIL
    assert line.steps == [(2.7, "LeaveMessage")]


def test_a_beep_is_hung_up_on_at_once() -> None:
    line = Line(leaves_message=False).begin(0.3).words("I cannot take your call", 2.5).beep(3.0)

    assert line.steps == [(3.0, "PartFromMachine")]


@pytest.mark.parametrize(
    ("speech_s", "said", "silence_s"),
    [
        (0.5, "", RULES.human_silence_s),
        (1.8, "", RULES.pause_s),
        (1.8, "Hello, who is this?", RULES.human_silence_s),
        (1.8, "Thank you for calling Smith", RULES.machine_silence_s),
        (1.8, "Thank you for calling, how may I help?", RULES.human_silence_s),
    ],
    ids=["a hello", "more", "a person's words", "a firm's opener", "a firm's person"],
)
def test_the_pause_that_lets_us_speak_depends_on_what_was_heard(
    speech_s: float, said: str, silence_s: float
) -> None:
    line, ended = Line().begin(0.2), 0.2 + speech_s
    line.words(said, ended).judge.silent(ended)
    line.wait(20.0)

    assert line.steps == [(pytest.approx(min(ended + silence_s, 20.0), abs=0.002), "Open")]


@pytest.mark.parametrize(
    ("spoken_s", "said", "beep_after_s", "found"),
    [
        (0.9, "", 1.2, True),
        (0.9, "Kevin Schmidt", 1.2, True),
        (0.9, "Hello", 1.2, False),
        (0.9, "", 2.9, False),
        (0.9, "You know what to do", 2.9, True),
        (3.5, "", 2.9, True),
        (3.5, "How can I help you", 2.9, False),
    ],
)
def test_a_beep_when_we_have_begun(
    spoken_s: float, said: str, beep_after_s: float, *, found: bool
) -> None:
    ended = 0.2 + spoken_s
    line = Line().begin(0.2).words(said, ended)
    line.judge.silent(ended)
    line.wait(ended + 1.1).begin(ended + 1.1).beep(ended + beep_after_s)

    assert ((Answerer.VOICEMAIL, "beep") in line.verdicts) is found


@pytest.mark.parametrize(
    ("says", "steps"),
    [
        ("human", ["Open"]),
        ("machine_end_beep", ["LeaveMessage"]),
        ("machine_end_silence", ["LeaveMessage"]),
        ("fax", ["PartFromMachine"]),
        ("unknown", []),
    ],
)
def test_a_carriers_detection_is_used(says: str, steps: list[str]) -> None:
    line = Line(answered_at=None).carrier(says, 1.0)

    assert [name for _, name in line.steps] == steps


def test_a_machine_detected_by_the_carrier_is_waited_for() -> None:
    line = Line().carrier("machine_start", 2.0).begin(2.0).beep(8.0)

    assert line.steps == [(8.0, "LeaveMessage")]


SOUNDS = st.lists(
    st.tuples(
        st.floats(0.01, 5.0),
        st.sampled_from(
            [
                *("voiced", "silent", "beep", "hello", TONE, "press one", "how can I help you"),
                *("state your name and reason", "she is not available", "call you back"),
            ]
        ),
    ),
    max_size=30,
)


@settings(deadline=None)  # the machine may be busy
@given(sounds=SOUNDS, leaves=st.booleans())
def test_any_sound_ends_in_a_talk_or_a_hang_up(
    sounds: list[tuple[float, str]], *, leaves: bool
) -> None:
    line, now = Line(leaves_message=leaves), 0.0
    for after, what in sounds:
        now += after
        match what:
            case "voiced" | "silent":
                getattr(line.wait(now).judge, what)(now)
            case "beep":
                line.beep(now)
            case _:
                line.words(what, now, final=True)
    line.judge.silent(now)
    line.wait(now + 200.0)  # every wake-up makes progress: this returns

    ends = [
        action
        for _, action in line.done
        if isinstance(action, Open | LeaveMessage | PartFromMachine)
    ]
    assert ends
    assert not any(isinstance(action, LeaveMessage | PartFromMachine) for action in ends[:-1])
    assert line.judge.over


@settings(deadline=None)  # the machine may be busy
@given(SOUNDS)
def test_without_a_machines_words_or_a_beep_no_answerer_is_hung_up_on(
    sounds: list[tuple[float, str]],
) -> None:
    line, now = Line(leaves_message=False), 0.0
    for after, what in sounds:
        now += after
        if what in ("voiced", "silent"):
            getattr(line.wait(now).judge, what)(now)
    line.judge.silent(now)
    line.wait(now + 200.0)

    assert not any(
        isinstance(each, PartFromMachine | StopTalking | SayWho) for _, each in line.done
    )


MACHINES_WORDS = [TONE, "The mailbox is full", "I cannot take your call", "we are closed", "press"]
PERSONS_WORDS = ["how can I help you", "who is calling", "can I take a message for her"]


@settings(deadline=None)  # the machine may be busy
@given(
    said=st.lists(st.sampled_from([*MACHINES_WORDS[2:], *PERSONS_WORDS]), min_size=1, max_size=4),
    leaves=st.booleans(),
    step_s=st.floats(0.05, 1.5),
)
def test_no_answerer_is_hung_up_on_while_a_person_is_more_likely(
    said: list[str], *, leaves: bool, step_s: float
) -> None:
    said = [*said, *PERSONS_WORDS[:2]]
    line, now = Line(leaves_message=leaves).begin(0.1), 0.1
    for index in range(len(said)):
        now += step_s
        line.words(" ".join(said[: index + 1]), now)
    line.wait(now + 0.1).judge.silent(now + 0.1)
    line.wait(now + 60.0)

    assert not any(isinstance(each, PartFromMachine | LeaveMessage) for _, each in line.done)


@settings(deadline=None)  # the machine may be busy
@given(sounds=SOUNDS)
def test_our_first_word_is_in_time_whatever_the_answerer_says(
    sounds: list[tuple[float, str]],
) -> None:
    line, now = Line(), 0.0
    for after, what in sounds:
        now += after
        match what:
            case "voiced" | "silent":
                getattr(line.wait(now).judge, what)(now)
            case "beep":
                line.beep(now)
            case _:
                line.words(what, now)
    line.wait(now + 10.0)

    first = next(each for _, each in line.done if isinstance(each, Decide))
    assert first.after_s <= RULES.decide_s
