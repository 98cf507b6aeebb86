"""Has the model know who calls, as soon as the register says so; nobody waits for it."""

import asyncio

from pipecat.processors.aggregators.llm_context import LLMContext

from bot.config.agent import AgentSettings
from calls.crm_events import CallerKnown
from calls.entry import Tell
from operations.crm.asking import CrmDesk
from operations.crm.customer import CrmContact, is_personal, known_text, personal


class KnownCaller:
    """One for each call; the look-up begins when it is made."""

    def __init__(self, desk: CrmDesk, number: str, *, tell: Tell) -> None:
        """Begin to ask."""
        self._name = desk.crm.name
        self._tell = tell
        self._asking = desk.begin(number, tell=tell)
        self._greeted = False
        self._over = False

    def tell_model(self, context: LLMContext) -> None:
        """Put what is known into the conversation, now or when it comes."""

        def known(asked: asyncio.Task[CrmContact | None]) -> None:
            contact = None if self._over or asked.cancelled() else asked.result()
            text = known_text(contact) if contact else ""
            if text:
                context.add_message({"role": "system", "content": text})
                self._tell(CallerKnown(crm=self._name, late=self._greeted))

        self._asking.add_done_callback(known)

    async def greeted_by(self, agent: AgentSettings, *, within_s: float) -> AgentSettings:
        """Return the agent with the caller's name in its greeting, if that has a place for one.

        Waits no longer than `within_s`, and not at all where there is no such place.
        """
        contact = None
        if is_personal(agent.greeting):
            done, _ = await asyncio.wait({self._asking}, timeout=within_s)
            contact = self._asking.result() if done and not self._asking.cancelled() else None
        self._greeted = True
        return agent.model_copy(update={"greeting": personal(agent.greeting, contact)})

    def close(self) -> None:
        """Ask no longer: the call is over."""
        self._over = True
        self._asking.cancel()
