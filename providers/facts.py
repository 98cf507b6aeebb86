"""The facts of a rung: what its service can do, and how it must be used.

The defaults are the careful values, for a service without a description or measurement: it may be
used in any ladder, but its rung promises less. Facts that `providers check` measured on a rung, or
that its owner states, replace those of the table.
"""

from dataclasses import dataclass

from fallbacks.ladder import ClauseRule


@dataclass(frozen=True, slots=True, kw_only=True)
class RungFacts:
    """What a rung's service can do.

    Attributes:
        word_times: A voice reports the time of each word; otherwise it is estimated.
        cancels: A voice falls silent on request; otherwise it must be reconnected.
        finalises: A recogniser sends its final result on request.
        interim: A recogniser sends results while the caller speaks; otherwise it is not late then.
        says_why: A model reports why an answer ended, so that a stream cut short is noticed.
        rates_hz: The only sample rates that it supports, the preferred one first; empty for any.
        is_local: It runs on this machine.
        asks_cheaply: A cheap authenticated request exists; otherwise each probe is a real request.
        shares: Its module has `share`: a resource for all calls, such as connections.
        schemes: The allowed beginnings of `url`, the safe one first; empty if it takes none.
        clause: How a sentence may be split for a voice; `None`: not at all.
        symptoms: The vendor whose wording it uses, in `fallbacks/symptoms.py`; empty: the kind.
    """

    word_times: bool = False
    cancels: bool = False
    finalises: bool = False
    interim: bool = False
    says_why: bool = False
    rates_hz: tuple[int, ...] = ()
    is_local: bool = False
    asks_cheaply: bool = False
    shares: bool = False
    schemes: tuple[str, ...] = ()
    clause: ClauseRule | None = None
    symptoms: str = ""

    def rate_hz(self, wanted_hz: int) -> int:
        """Return the wanted rate if the service supports it, or else its preferred one."""
        return wanted_hz if not self.rates_hz or wanted_hz in self.rates_hz else self.rates_hz[0]
