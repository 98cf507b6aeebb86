"""The reasons why a row is refused or a contact cannot be called, in words and with the cure."""

from collections.abc import Mapping
from typing import Final

from campaigns.model import Campaign
from fallbacks.data_files import read_data

CURES: Final[Mapping[str, str]] = read_data(__name__, "refusals.yaml")
LACKS: Final = "lacks_"


def reason_lines(counts: Mapping[str, int], campaign: Campaign) -> list[str]:
    """Return a line for each reason with its count and the cure, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [f"{count} ({code}): {cure_of(code, campaign)}" for code, count in ordered]


def cure_of(code: str, campaign: Campaign) -> str:
    """Return a code in words, with the cure if there is one."""
    if code.startswith(LACKS):
        return f"nothing fills {{{code.removeprefix(LACKS)}}} of the campaign's texts"
    if code == "no_common_hour":
        window = campaign.window
        hours = f"{clock_time(window.opens_s)} to {clock_time(window.closes_s)}"
        return (
            f"the number may be in several time zones, and {hours} is at no time in all of them; "
            "add a column `zone` such as Europe/Moscow and import again, or widen `window`"
        )
    return CURES.get(code) or code.replace("_", " ")


def clock_time(seconds: float) -> str:
    """Return seconds since midnight as a time of day, such as 08:00."""
    return f"{int(seconds // 3600):02}:{int(seconds % 3600 // 60):02}"
