"""What a call has of its own to reach a person with; nothing, where its agent names nobody."""

from dataclasses import dataclass
from functools import partial

from pipecat.processors.frame_processor import FrameProcessor

from bot.call.core import Around, CallCore
from bot.call.handover_means import Means
from bot.call.person_call import PersonCall, PersonNews
from bot.call.person_reach import PersonReach
from bot.call.person_summary import Summariser
from processors.holding.descent_rules import Step
from processors.holding.menu_word_rules import heard_here
from processors.holding.utterance_rules import Situation, in_language
from processors.transfer.joined_sound import JoinedSound
from processors.transfer.person_words import RATES_HZ, PersonWords
from processors.transfer.waiting_line import WaitingLine
from transports.leg import Leg


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonParts:
    """What reaches the person, and its two places in the list."""

    reach: PersonReach
    sound: JoinedSound
    waiting: WaitingLine


def person_for(call: Around, core: CallCore) -> PersonParts | None:
    """Return what a call reaches a person with; None: its agent names nobody, and no keys."""
    if not (call.agent.destinations or call.agent.keys):
        return None
    shared, leg = call.shared, call.leg
    language = core.fallback.phrases.language  # as the call begins: the person is not the caller
    waiting, sound = WaitingLine(core.fallback, call.wiring), JoinedSound()
    summariser = Summariser(
        llm=core.services.llm,
        context=core.context,
        settings=shared.settings.transfer,
        language=language,
        posts=shared.posts,
        call_id=call.call_id,
        caller=leg.facts.other_party,
        clock=call.wiring.clock,
    )
    means = Means(
        leg=leg,
        calls_people=shared.people.for_caller(leg.facts.transport),
        waiting=waiting,
        sound=sound,
        silence=core.silence,
        hold_line=core.hold_line,
        summarise=summariser.summarise,
        make_person=partial(_make_person, call, language),
        text=partial(_text, call, language),
        end=call.end,
        call_back=core.desk.call_back,
    )
    reach = PersonReach(call.agent, means, call.wiring)
    core.desk.reach = reach.connect
    return PersonParts(reach=reach, sound=sound, waiting=waiting)


def with_person(listed: list[FrameProcessor], person: PersonParts | None) -> list[FrameProcessor]:
    """Put the parts where they belong: right behind the line's sound, and right above the line."""
    if person is None:
        return listed
    first, *middle = listed
    *above, output, assistant = middle
    return [first, person.sound, *above, person.waiting, output, assistant]


def _make_person(call: Around, language: str, leg: Leg, news: PersonNews) -> PersonCall:
    person = PersonCall(
        leg,
        call.shared,
        call.agent,
        wiring=call.wiring,
        language=language,
        news=news,
    )
    if words := _words(call, language, leg):
        person.hear_words(words)
    return person


def _words(call: Around, language: str, leg: Leg) -> PersonWords | None:
    """Return who hears a person's yes and no; None: this leg, or its language, has keys alone."""
    shared = call.shared
    settings, last_resort = shared.settings, shared.last_resort
    texts = in_language(last_resort.utterances, language)
    asks = any(each.situation is Situation.ACCEPT_EITHER for each in texts)
    hears = Step.WORDS in settings.hold.steps and leg.facts.sample_rate_hz in RATES_HZ
    if not (asks and hears and heard_here(language)):
        return None
    speech = shared.models.vad(settings.turn)
    return PersonWords(last_resort.ear, speech, clock=call.wiring.clock)


def _text(call: Around, language: str, situation: Situation) -> str:
    """Return a text for the person, who speaks the agent's language."""
    texts = in_language(call.shared.last_resort.utterances, language)
    found = (each.text for each in texts if each.situation is situation)
    return next(found, FOR_PERSON[situation])


FOR_PERSON = {
    Situation.FOR_PERSON: "Hello. I have a caller on the line who would like to speak with you.",
    Situation.ACCEPT: "To take the call, press 1. To decline, press 2.",
    Situation.ACCEPT_EITHER: (
        "To take the call, press 1, or say yes. To decline, press 2, or say no."
    ),
}
"""Where an owner's texts have none."""
