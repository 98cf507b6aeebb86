"""Looks a caller up in the CRM, for the model and the greeting, while the call goes on."""

import asyncio
from collections.abc import Callable
from typing import Final

from pipecat.processors.aggregators.llm_context import LLMContext

from calls.entry import Emit
from calls.operations_events import CallerKnown
from calls.outside_text import placeholders, quoted, spoken
from configuration.agent import AgentSettings
from contacts.person_names import without_sentences
from operations.crm.customer import CrmContact
from operations.crm.port import CrmLookup

KNOWN_TITLE: Final = "What our register says about the caller's number."
VERIFIED_TITLE: Final = "The caller is verified. What our register says of them besides."


class KnownCaller:
    """The CRM look-up of one caller; the constructor starts it.

    The caller may be someone other than the contact with this number, so fields that are held back
    reach the model only after the caller is verified.
    """

    def __init__(
        self,
        lookup: CrmLookup,
        number: str,
        *,
        emit: Emit,
        is_held: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Start the look-up; `is_held` returns whether a field is held back until verification."""
        self._name = lookup.crm.name
        self._emit = emit
        self._is_held = is_held
        self._lookup_task = lookup.start_look_up(number, emit=emit)
        self._context: LLMContext | None = None
        self._greeted = False
        self._verified = False
        self._over = False

    def tell_model(self, context: LLMContext, *, again: bool = False) -> None:
        """Add the CRM's fields to the conversation once the look-up is done; call it once.

        Fields that are held back are added only if the caller is verified.

        Args:
            context: The conversation.
            again: Whether the call was resumed, so that the conversation already contains the
                fields that are not held back.
        """
        self._context = context

        def add_known(_: asyncio.Task[CrmContact | None]) -> None:
            """Tell the model what the CRM knows; fields that are held back, only once verified."""
            if not again:
                self._add_fields(KNOWN_TITLE, held=False)
            if self._verified:
                self._add_fields(VERIFIED_TITLE, held=True)

        self._lookup_task.add_done_callback(add_known)

    def verify(self) -> None:
        """Add the fields that were held back: a tool has verified the caller."""
        # During the look-up, only remember it: `tell_model` adds the fields when they arrive.
        if not self._verified and self._lookup_task.done():
            self._add_fields(VERIFIED_TITLE, held=True)
        self._verified = True

    def _add_fields(self, title: str, *, held: bool) -> None:
        """Add the held fields, or only the others, to the conversation, and emit `CallerKnown`."""
        values = {
            name: value
            for name, value in self._known_fields().items()
            if self._is_held(name) is held
        }
        if self._context is not None and (text := quoted(title, values)):
            self._context.add_message({"role": "system", "content": text})
            self._emit(CallerKnown(crm=self._name, late=self._greeted))

    def _known_fields(self) -> dict[str, str]:
        """Return the known fields; none before the answer or after the call."""
        answered = self._lookup_task.done() and not self._lookup_task.cancelled() and not self._over
        contact = self._lookup_task.result() if answered else None
        known = contact.known() if contact else {}
        return known | {"name": without_sentences(known["name"])} if known else {}

    async def greeted_by(self, agent: AgentSettings, *, within_s: float) -> AgentSettings:
        """Return the agent with the placeholders in its greeting filled in.

        Waits up to `within_s` for the CRM, but only if the greeting has a placeholder. What the CRM
        says after that is reported as late.
        """
        if placeholders(agent.greeting):
            await asyncio.wait({self._lookup_task}, timeout=within_s)
        self._greeted = True
        known = {
            name: value for name, value in self._known_fields().items() if not self._is_held(name)
        }
        return agent.model_copy(update={"greeting": spoken(agent.greeting, known)})

    def close(self) -> None:
        """Cancel the look-up: the call is over."""
        self._over = True
        self._lookup_task.cancel()
