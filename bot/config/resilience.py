"""What is done about providers that fail, and the decisions' settings that follow from it."""

from typing import Final

from pydantic import Field

from bot.config.values import Count, CountOrZero, Factor, Seconds, SecondsOrZero, Section, Share
from fallbacks.breaker import BreakerSettings
from fallbacks.probing import ProbeSettings
from fallbacks.retrying import RetrySettings

SHARE_ADDRESS: Final = r"^(local|[a-z][a-z0-9+]*://\S+)$"
LEAST_TRIAL_S: Final = 15.0
TRIAL_PROBES: Final = 3  # a trial lasts at least as long as so many probes that hang


class BreakerSection(Section):
    """When a provider is left alone, and when it is trusted again."""

    failures: Count = 3
    open_s: Seconds = 30.0
    successes: Count = 2


class ProbeSection(Section):
    """How often a provider is asked whether it is well."""

    interval_s: SecondsOrZero = 60.0  # 0: never; then callers find out
    timeout_s: Seconds = 5.0


class RetrySection(Section):
    """Work outside a live turn: `attempts` counts retries after the first try."""

    initial_s: Seconds = 5.0
    factor: Factor = 2.0
    attempts: CountOrZero = 3


class HedgeSection(Section):
    """A second model asked before the first is late; both bill."""

    enabled: bool = False
    share: Share = 0.05  # of the answers


class ResilienceSection(Section):
    """What is done about providers that fail."""

    breaker: BreakerSection = BreakerSection()
    probe: ProbeSection = ProbeSection()
    retry: RetrySection = RetrySection()
    hedge: HedgeSection = HedgeSection()
    share: str = Field(default="local", pattern=SHARE_ADDRESS)

    def breaker_settings(self) -> BreakerSettings:
        """Return what every rung's breaker goes by."""
        return BreakerSettings(
            **dict(self.breaker),
            trial_s=max(LEAST_TRIAL_S, TRIAL_PROBES * self.probe.timeout_s),
            probing=self.probe.interval_s > 0,
        )

    def probe_settings(self) -> ProbeSettings:
        """Return how often rungs are probed."""
        return ProbeSettings(**dict(self.probe))

    def retry_settings(self) -> RetrySettings:
        """Return how often work outside a turn is asked for again."""
        return RetrySettings(**dict(self.retry))
