"""The look-up of a caller in the CRM, for the model and the greeting; it delays no call."""

import asyncio
from typing import Final

from pipecat.processors.aggregators.llm_context import LLMContext

from bot.config.agent import AgentSettings
from calls.entry import Emit
from calls.operations_events import CallerKnown
from calls.outside_text import has_places, quoted, spoken
from operations.crm.customer import CrmContact
from operations.crm.port import CrmLookup

KNOWN: Final = "What our register says about the caller's number."


class KnownCaller:
    """The CRM look-up of one caller; it begins with the constructor."""

    def __init__(self, lookup: CrmLookup, number: str, *, emit: Emit) -> None:
        """Begin the look-up."""
        self._name = lookup.crm.name
        self._emit = emit
        self._asking = lookup.begin(number, emit=emit)
        self._greeted = False
        self._over = False

    def tell_model(self, context: LLMContext) -> None:
        """Add what the CRM knows to the conversation, now or when its answer arrives."""

        def known(asked: asyncio.Task[CrmContact | None]) -> None:
            contact = None if self._over or asked.cancelled() else asked.result()
            text = quoted(KNOWN, contact.known()) if contact else ""
            if text:
                context.add_message({"role": "system", "content": text})
                self._emit(CallerKnown(crm=self._name, late=self._greeted))

        self._asking.add_done_callback(known)

    async def greeted_by(self, agent: AgentSettings, *, within_s: float) -> AgentSettings:
        """Return the agent, with the caller's name if its greeting has a placeholder for one.

        Waits up to `within_s`, and not at all without such a placeholder.
        """
        contact = None
        if has_places(agent.greeting):
            done, _ = await asyncio.wait({self._asking}, timeout=within_s)
            contact = self._asking.result() if done and not self._asking.cancelled() else None
        self._greeted = True
        greeting = spoken(agent.greeting, contact.known() if contact else {})
        return agent.model_copy(update={"greeting": greeting})

    def close(self) -> None:
        """Cancel the look-up: the call is over."""
        self._over = True
        self._asking.cancel()
