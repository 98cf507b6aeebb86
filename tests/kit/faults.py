"""Named faults of simulated providers, for the tests of all stages."""

from lab.simulators import faults
from lab.simulators.faults import Fault

# Faults before the first result, each with the kind of failure that it causes.
REFUSALS: dict[str, tuple[Fault, str]] = {
    "refused": (faults.Refuse(), "network"),
    "reset": (faults.Reset(), "network"),
    "no websocket": (faults.NotTls(), "network"),
    "401": (faults.Http(status=401), "auth"),
    "402": (faults.Quota(), "quota"),
    "429": (faults.Http(status=429), "rate_limited"),
    "503": (faults.Http(status=503), "overloaded"),
    "hung handshake": (faults.Silent(where="handshake"), "timeout"),
}
DEAD: dict[str, Fault] = {name: fault for name, (fault, _) in REFUSALS.items()}
MUTE: dict[str, Fault] = {"silent": faults.Silent(), "alive": faults.Alive()}


def cuts(*words: int) -> dict[str, Fault]:
    """Return faults that reset, close or fail a stream after each of these numbers of words."""
    return {
        f"{how} after {number} words": faults.Cut(after_words=number, how=how)
        for number in words
        for how in ("reset", "close", "error")
    }


def stalls(*words: int) -> dict[str, Fault]:
    return {f"stall after {number} words": faults.Stall(after_words=number) for number in words}
