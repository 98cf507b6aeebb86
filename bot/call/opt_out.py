"""Has a call hear that the other party does not want to be called again."""

from bot import clock
from bot.call.services import Shared
from bot.tools.do_not_call import DoNotCallDesk
from operations.record.phone_numbers import as_dialled
from processors.wiring import CallWiring
from transports.leg import Leg


def opt_out_for(
    shared: Shared, leg: Leg, wiring: CallWiring, *, call_id: str
) -> DoNotCallDesk | None:
    """Return what lists the other party's number; None: nobody is called from here."""
    facts = leg.facts
    if shared.do_not_call is None:
        return None
    desk = DoNotCallDesk(
        shared.do_not_call,
        as_dialled(facts.other_party, region=shared.settings.server.region),
        call_id=call_id,
        turn=lambda: wiring.turn.number,
        tell=wiring.outside,
        utc_s=lambda: clock.utc_now().timestamp(),
        dial_id=facts.dial_id,
    )
    wiring.listeners.append(desk.hear)
    return desk
