"""The receptionist's sentences.

First sentences are short, because speech starts when the first sentence is complete. Some answers
are long, so that a fault can occur in the middle.
"""

from typing import Final

GREETING: Final = "Hello. How can I help you?"
ELSE: Final = "Is there anything else I can do for you?"
UNKNOWN: Final = "I am sorry, I did not quite understand. Could you say that in other words?"
DID_NOT_WORK: Final = "I am sorry, that did not work just now. Shall I try something else for you?"
GOODBYE: Final = "Goodbye, and thank you for calling."

_PRICES: Final = {
    "haircut": "forty euros",
    "consultation": "sixty euros",
    "massage": "seventy euros",
    "cleaning": "eighty five euros",
    "check up": "thirty euros",
}


def price(service: str) -> str:
    """Return the answer to a question about money."""
    if service in _PRICES:
        return (
            f"A {service} costs {_PRICES[service]}. It takes about half an hour, and you can pay"
            " by card or in cash on the day."
        )
    return (
        "That depends. A haircut costs forty euros, a consultation costs sixty, a massage costs"
        " seventy, a cleaning costs eighty five, and a check up costs only thirty euros."
    )


def hours(day: str) -> str:
    """Return the answer to a question about opening hours."""
    if day.endswith("Sunday"):
        return "No, on Sunday we are closed. We open again on Monday at nine in the morning."
    if day.endswith("Saturday"):
        return "Yes, we are open on Saturday. We are here from ten in the morning until two."
    return (
        "We open at nine. From Monday to Friday we are here until six in the evening, on Saturday"
        " from ten in the morning until two, and on Sunday we are closed."
    )


SAYS: Final = {
    "address": (
        "We are at twelve Market Street. You will find us in the middle of town, two minutes on"
        " foot from the station, on the ground floor beside the post office."
    ),
    "wait": "Of course. I am still here, so take all the time you need.",
    "presence": "Yes, I can hear you. How can I help you?",
    "help": (
        "Of course. I can book an appointment for you, tell you our prices and our opening hours,"
        " or put you through to a person."
    ),
}
