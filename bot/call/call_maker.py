"""Makes the calls of a process, each with an id, its agent and its own stream of facts."""

import secrets
from typing import Final, Protocol

from bot.call.call import Call
from bot.call.prices import with_prices
from bot.call.services import Shared
from calls.cost import PriceTable
from calls.entry import Numbering
from operations.telemetry.emitter import Emitter
from processors.answerer.answerer_rules import AnsweringPlan
from transports.leg import Leg

UNKNOWN: Final = 100  # entries that a lost process may have told since its state was kept (chosen)


class MakeCall(Protocol):
    """Makes a call on a leg, answered by the agent of the called number."""

    def __call__(
        self,
        leg: Leg,
        answering: AnsweringPlan | None = None,
    ) -> Call:
        """Return a call that has not begun.

        Args:
            leg: The telephone at the other end.
            answering: Of a call that we placed: what is said to a machine that picks up; None:
                nobody listens for one.
        """
        ...


def call_maker(shared: Shared, emitter: Emitter, prices: PriceTable) -> MakeCall:
    """Return what makes calls, each with an id, its agent and its own stream of facts."""

    def make_call(
        leg: Leg,
        answering: AnsweringPlan | None = None,
    ) -> Call:
        before = leg.before
        call_id = (before and before.call_id) or secrets.token_hex(6)
        numbers = Numbering(before.entries + UNKNOWN if before and before.call_id else 0)
        told = shared.briefs.agent(leg.facts.dial_id)
        agent = told or shared.settings.agent_for(leg.facts.called)
        return Call(
            shared,
            leg,
            call_id=call_id,
            agent=agent,
            tell=with_prices(emitter.tell_for(call_id, numbers), prices),
            numbers=numbers,
            answering=answering or agent.answering,
        )

    return make_call
