"""The look-up of a caller in the CRM, for the model and the greeting; it delays no call."""

import asyncio
from collections.abc import Callable
from typing import Final

from pipecat.processors.aggregators.llm_context import LLMContext

from bot.config.agent import AgentSettings
from calls.entry import Emit
from calls.operations_events import CallerKnown
from calls.outside_text import placeholders, quoted, spoken
from operations.crm.customer import CrmContact
from operations.crm.port import CrmLookup

KNOWN: Final = "What our register says about the caller's number."
VERIFIED: Final = "The caller is verified. What our register says of them besides."


class KnownCaller:
    """The CRM look-up of one caller; it begins with the constructor.

    A number is not a person: fields that are held back reach the model after a verification only.
    """

    def __init__(
        self,
        lookup: CrmLookup,
        number: str,
        *,
        emit: Emit,
        is_held: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Begin the look-up; `is_held` returns whether a field must wait for a verification."""
        self._name = lookup.crm.name
        self._emit = emit
        self._is_held = is_held
        self._asking = lookup.begin(number, emit=emit)
        self._context: LLMContext | None = None
        self._greeted = False
        self._verified = False
        self._over = False

    def tell_model(self, context: LLMContext, *, again: bool = False) -> None:
        """Add what the CRM knows to the conversation, now or when its answer arrives.

        Args:
            context: The conversation.
            again: It has what is not held back already: a resumed call's.
        """
        self._context = context

        def known(_: asyncio.Task[CrmContact | None]) -> None:
            if not again:
                self._tell(KNOWN, held=False)
            if self._verified:
                self._tell(VERIFIED, held=True)

        self._asking.add_done_callback(known)

    def verify(self) -> None:
        """Add what was held back: a tool has said that the caller is who they say."""
        if not self._verified and self._asking.done():
            self._tell(VERIFIED, held=True)
        self._verified = True

    def _tell(self, title: str, *, held: bool) -> None:
        values = {
            name: value for name, value in self._values().items() if self._is_held(name) is held
        }
        if self._context is not None and (text := quoted(title, values)):
            self._context.add_message({"role": "system", "content": text})
            self._emit(CallerKnown(crm=self._name, late=self._greeted))

    def _values(self) -> dict[str, str]:
        """Return the known fields; none before the answer or after the call."""
        answered = self._asking.done() and not self._asking.cancelled() and not self._over
        contact = self._asking.result() if answered else None
        return contact.known() if contact else {}

    async def greeted_by(self, agent: AgentSettings, *, within_s: float) -> AgentSettings:
        """Return the agent, with the caller's name if its greeting has a placeholder for one.

        Waits up to `within_s`, and not at all without such a placeholder.
        """
        if placeholders(agent.greeting):
            await asyncio.wait({self._asking}, timeout=within_s)
        self._greeted = True
        known = {name: value for name, value in self._values().items() if not self._is_held(name)}
        return agent.model_copy(update={"greeting": spoken(agent.greeting, known)})

    def close(self) -> None:
        """Cancel the look-up: the call is over."""
        self._over = True
        self._asking.cancel()
