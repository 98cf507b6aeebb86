"""Briefs: the agent of a campaign call, with the campaign's script and the contact's data.

The carrier's webhook may reach any worker. So that worker looks up the brief by the dial's id
before the call begins, and keeps it here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from loguru import logger

from calls.outbound import Contact
from calls.outside_text import placeholders, spoken
from campaigns.model import Campaign
from campaigns.placeholders import NUMBER, texts_of
from configuration.agent import AgentSettings
from configuration.texts import sentence
from contacts.person_names import with_names_cut
from processors.answerer.answerer_rules import AnsweringPlan
from processors.holding.utterance_rules import DEFAULT_LANGUAGE, Situation

LOOK_UP_S: Final = 2.0  # for the database, while the person who picked up hears silence
MAX_KEPT: Final = 1000  # briefs kept; the oldest is dropped
DEFAULT_GREETING: Final = sentence(Situation.GOOD_MOMENT, DEFAULT_LANGUAGE)
WE_CALLED: Final = (
    "You have called this person; they did not call you. Say goodbye and end the call as soon as "
    "they want that, or when the goals are reached."
)
ABOUT_PLACEHOLDERS: Final = (
    "A word in braces, such as {name}, stands for the value of that name in the message about the "
    "person. Never say the braces. If there is no such value, do without it."
)

LookUp = Callable[[str], Awaitable[AgentSettings | None]]
"""Returns the briefed agent of a dial id; `None` if the dial is unknown."""


class Briefs:
    """The briefed agents of this process, by dial id."""

    def __init__(self) -> None:
        self._agents: dict[str, AgentSettings] = {}
        self.look_up: LookUp | None = None  # `None` if this process places no calls

    def keep(self, dial_id: str, agent: AgentSettings) -> None:
        """Keep the agent for the call of this dial; beyond `MAX_KEPT`, the oldest is dropped."""
        while len(self._agents) >= MAX_KEPT:
            del self._agents[next(iter(self._agents))]
        self._agents[dial_id] = agent

    def agent(self, dial_id: str) -> AgentSettings | None:
        """Return the agent of a dial; `None` without a dial, or if it is not kept here."""
        return self._agents.get(dial_id) if dial_id else None

    async def load(self, dial_id: str) -> bool:
        """Load the agent of a dial before its call begins.

        Returns:
            False if the dial is unknown or the database fails: then the call is refused. True if
            the agent is loaded, or if there is nothing to load.
        """
        if not dial_id or dial_id in self._agents or self.look_up is None:
            return True
        try:
            async with asyncio.timeout(LOOK_UP_S):
                agent = await self.look_up(dial_id)
        except Exception as broken:  # noqa: BLE001 - edge of the database; the call is refused
            logger.warning("the brief of dial {} could not be loaded: {!r}", dial_id, broken)
            return False
        if agent is None:
            return False
        self.keep(dial_id, agent)
        return True

    def forget(self, dial_id: str) -> None:
        """Drop the agent that is kept for a dial, if there is one."""
        self._agents.pop(dial_id, None)


def briefed(agent: AgentSettings, campaign: Campaign, contact: Contact) -> AgentSettings:
    """Return a copy of the agent for one campaign call: script, goals, greeting and contact.

    The disclosure comes first and cannot be interrupted. The contact's data is not part of the
    instructions: the model gets it in a message of its own.
    """
    fields = with_names_cut({"name": contact.name, **contact.fields})
    if any(NUMBER in placeholders(text) for text in texts_of(campaign).values()):
        fields = {NUMBER: contact.number, **fields}
    usable = {name: value for name, value in fields.items() if not agent.holds_back(name)}
    greeting = _fill_placeholders(campaign.greeting, usable) or agent.sentence(
        Situation.GOOD_MOMENT
    )
    briefed_agent = agent.knowing(fields).model_copy(
        update={
            "instructions": _campaign_instructions(agent, campaign),
            "disclosure": _fill_placeholders(campaign.disclosure, usable) or agent.disclosure,
            "greeting": greeting,
        }
    )
    if not campaign.amd.listen:
        return briefed_agent
    screening = _fill_placeholders(campaign.amd.screening, usable) or greeting
    opening = " ".join(filter(None, (briefed_agent.disclosure, screening)))
    message = _fill_placeholders(campaign.voicemail_text, usable)
    return briefed_agent.listening(AnsweringPlan(who=opening, message=message))


def _campaign_instructions(agent: AgentSettings, campaign: Campaign) -> str:
    """Return an agent's instructions, followed by the campaign's script and goals."""
    goals = "\n".join(("Goals of the call:", *(f"- {goal}" for goal in campaign.goals)))
    parts = (
        agent.instructions,
        WE_CALLED,
        campaign.script,
        goals if campaign.goals else "",
        ABOUT_PLACEHOLDERS if placeholders(f"{campaign.script} {goals}") else "",
    )
    return "\n\n".join(part for part in parts if part)


def _fill_placeholders(text: str, fields: Mapping[str, str]) -> str:
    """Return a text with its placeholders filled in; empty if a value is missing."""
    return spoken(text, fields) if all(fields.get(name) for name in placeholders(text)) else ""
