"""`resilience`: breakers, probes, retries and hedging."""

from typing import Final

from pydantic import Field

from configuration.values import Count, CountOrZero, Factor, Seconds, SecondsOrZero, Section, Share
from fallbacks.breaker import BreakerSettings
from fallbacks.probing import ProbeSettings
from fallbacks.retrying import RetrySettings

SHARE_ADDRESS: Final = r"^(local|[a-z][a-z0-9+]*://\S+)$"
MIN_TRIAL_S: Final = 15.0  # of the half-open state
TRIAL_PROBES: Final = 3  # it lasts at least as long as this many probes that time out


class BreakerSection(Section):
    """When a provider's breaker opens and closes."""

    failures: Count = 3
    """Failures in a row that open the breaker."""
    open_s: Seconds = 30.0
    """How long the breaker stays open, unless a probe succeeds earlier."""
    successes: Count = 2
    """Successful probes that close the breaker. A successful request for a caller who has no other
    provider closes it, too.
    """


class ProbeSection(Section):
    """How often a provider is probed."""

    interval_s: SecondsOrZero = 60.0
    """Time between two cheap probes of a healthy provider. If there is no cheap request, a real one
    is sent every ten times as long. Zero: no probes, not even at the start. Then a caller's request
    tests a half-open breaker.
    """
    timeout_s: Seconds = 5.0
    """The longest that one probe may take."""


class RetrySection(Section):
    """Retries of work outside a live turn, such as dials and alerts."""

    initial_s: Seconds = 5.0
    """The wait before the first retry."""
    factor: Factor = 2.0
    """Each further wait is this many times as long as the one before."""
    attempts: CountOrZero = 3
    """Retries after the first attempt."""


class HedgeSection(Section):
    """Hedging: a second model is asked before the first one is late; both are billed."""

    enabled: bool = False
    """Ask a second model when the first one has not answered by its own p95, and speak the quicker
    answer. Both requests are billed.
    """
    share: Share = 0.05
    """The share of recent answers that may be hedged."""


class ResilienceSection(Section):
    """How failures of providers are handled."""

    breaker: BreakerSection = BreakerSection()
    probe: ProbeSection = ProbeSection()
    retry: RetrySection = RetrySection()
    hedge: HedgeSection = HedgeSection()
    share: str = Field(default="local", pattern=SHARE_ADDRESS)
    """`local`: the workers of this server share the health of providers. The URL of a database: all
    servers that use it do.
    """

    def breaker_settings(self) -> BreakerSettings:
        """Return the settings of every rung's breaker.

        Its half-open state lasts long enough for `TRIAL_PROBES` probes that time out.
        """
        return BreakerSettings(
            **dict(self.breaker),
            trial_s=max(MIN_TRIAL_S, TRIAL_PROBES * self.probe.timeout_s),
            probing=self.probe.interval_s > 0,
        )

    def probe_settings(self) -> ProbeSettings:
        """Return the settings of probing."""
        return ProbeSettings(**dict(self.probe))

    def retry_settings(self) -> RetrySettings:
        """Return the settings of retries outside a turn."""
        return RetrySettings(**dict(self.retry))
