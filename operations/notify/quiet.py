"""Whether a moment lies in quiet hours."""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from bot.config.settings import QuietSettings
from operations.notify.alerting_rules import never_quiet


def quiet_hours(settings: QuietSettings) -> Callable[[float], bool]:
    """Return what says of a moment, in seconds since 1970, whether it is quiet."""
    begin, end = settings.begin, settings.end
    if begin is None:
        return never_quiet
    zone = ZoneInfo(settings.zone)

    def is_quiet(at_s: float) -> bool:
        clock = f"{datetime.fromtimestamp(at_s, zone):%H:%M}"
        return begin <= clock < end if begin <= end else clock >= begin or clock < end

    return is_quiet
