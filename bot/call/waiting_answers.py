"""The sentences for callers whose call has lost its process while no seat is free."""

from functools import partial
from typing import Final

from bot.call.shared import Shared
from bot.tools.caller_requests import CallerRequests, Unkept
from calls.languages.facts import base_of, language_of
from processors.holding.utterance_rules import FallbackText, Situation, in_language
from runtime import clock
from transports.announcements import Announcement, WaitingAnswers, WaitingCall
from transports.leg import LegFacts

REASON: Final = "The call was cut off, and all lines were busy when it was to go on."
RATE_HZ: Final = 8000  # of a line that has no sound
OTHER_REGIONS: Final = ("en-GB", "en-AU", "fr-CA", "pt-BR")
"""Those besides the usual ones that the voices of Twilio, Telnyx and Plivo all speak.

Sources: Twilio's "Say", Telnyx's "Speak text", Plivo's "Audio output".
"""
SENTENCES: Final = {
    None: Situation.CALLBACK,
    Unkept.NO_NUMBER: Situation.NO_CALLBACK,
    Unkept.NOT_CALLED: Situation.NO_CALLBACK,
    Unkept.NOT_STORED: Situation.APOLOGY,  # asks the caller to call again
}
"""The last sentence of the call, by why a callback was not stored."""


def waiting_answers(shared: Shared) -> WaitingAnswers:
    """Return the answers of a process, in the owner's texts and the language of each call."""
    default = shared.settings.agent.language

    def announce(situation: Situation, language: str, *, asks_again: bool) -> Announcement:
        """Return a situation's sentence in the language, or in one that has it."""
        tag = language or default
        texts = in_language(shared.last_resort.utterances, tag)
        text = next(item for item in texts if item.situation is situation)
        return Announcement(
            text=text.text, language=_spoken_language(text, tag), asks_again=asks_again
        )

    def wait(call: WaitingCall) -> Announcement:
        return announce(Situation.BRIDGE, call.language, asks_again=True)

    async def call_back(call: WaitingCall) -> Announcement:
        why_not = await _requests_of(call, shared).note_callback(REASON)
        return announce(SENTENCES[why_not], call.language, asks_again=False)

    return WaitingAnswers(wait=wait, call_back=call_back)


def _requests_of(call: WaitingCall, shared: Shared) -> CallerRequests:
    """Return what stores the callback, as during a call."""
    placed = bool(shared.settings.callbacks.campaign)
    return CallerRequests(
        callbacks=shared.last_resort.callbacks,
        messages=shared.last_resort.messages,
        call_id=call.call_id,
        facts=LegFacts(transport="", sample_rate_hz=RATE_HZ, caller=call.number),
        end=_ends_nothing,
        utc_now=clock.utc_now,
        read=partial(shared.gate.callback_number, placed=placed),
    )


async def _ends_nothing(reason: str) -> None:
    del reason  # the carrier ends the call after the sentence


def _spoken_language(text: FallbackText, tag: str) -> str:
    """Return the language of a text with a region that carriers speak: the call's or the usual one.

    It is the usual one for most regions: carriers refuse, for example, `de-AT`.
    """
    if tag in OTHER_REGIONS and base_of(tag) == base_of(text.language):
        return tag
    facts = language_of(text.language)
    return facts.region if facts and facts.region else text.language
