"""What takes calls, once everything that they share is open."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bot.call.answerers import CarrierWords
from bot.call.briefs import Briefs
from bot.call.call_maker import MakeCall
from bot.call.last_resort import LastResort
from bot.call.switchboard import Switchboard
from bot.config.settings import Settings
from bot.health.view import ProviderView
from bot.workers.lag import LagTeller
from fallbacks.work import StagePolicy
from operations.telemetry.console_sums import ConsoleSums
from operations.telemetry.emitter import Emitter
from operations.telemetry.live import Live
from operations.telemetry.metrics import Exposition, Metrics
from providers.provider import Stage
from transports.people import People


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What takes calls: `async with open_process(settings, words=False) as process: ...`."""

    settings: Settings
    switchboard: Switchboard
    emitter: Emitter
    live: Live
    call: MakeCall
    providers: ProviderView
    last_resort: LastResort
    policies: Mapping[Stage, StagePolicy]
    metrics: Metrics
    exposition: Exposition
    sums: ConsoleSums
    people: People  # doors that can call a person say so here
    at_end: AsyncExitStack  # takes what a door's calls need until the last call has ended
    measuring: LagTeller
    briefs: Briefs
    carrier_words: CarrierWords
    recorded: Callable[[], bool]  # the database takes the record, or nobody wants one
