"""Decides whether a number may be called: by the number itself, then by the limits.

This applies to every order (request to call a number): single calls, campaigns, callbacks and
transfers. The first broken rule is the reason for the refusal:

| reason | rule |
| --- | --- |
| `emergency` | an emergency number is never called |
| `nothing_allowed` | nothing is called before the owner has named countries or prefixes |
| `not_a_number` | the number must have a country code, or be a SIP address |
| `denied` | a number that begins like one of `outbound.denied` is never called |
| `cost_class` | only ordinary numbers are called, and costly classes that the owner has named |
| `country` | the number must be in one of the countries, or begin with one of the prefixes |
| `number_daily` | the limit of calls to one number within 24 hours; not for transfers |
| `concurrent` | the limit of calls at once |
| `hourly` | the limit of calls within an hour |
| `daily_minutes` | the limit of minutes within 24 hours |

Countries share codes such as +1. A prefix that the main one of them uses, too, opens no other.

A SIP address that is not a telephone number passes all rules on numbers. The limits count calls and
transfers separately, so that a campaign cannot prevent a transfer.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from fallbacks.data_files import read_data

OrderSource: TypeAlias = Literal["api", "command", "campaign", "callback", "transfer"]
"""The origin of an order: a client of the API, `holdline dial`, a campaign, a caller who has asked
for a callback, or a caller who is transferred."""

ORDINARY: Final = "ordinary"
ANY: Final = "+"  # the prefix of all numbers
SIP: Final = "sip"  # the cost class of SIP addresses, which have no country and no tariff
HOUR_S: Final = 3600.0
DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledNumber:
    """What the rules need to know about a number.

    Attributes:
        number: The number in E.164, or as given if it cannot be read.
        country: ISO 3166-1; empty if unknown, `001` for numbers that belong to no country.
        cost_class: `ordinary`, `sip`, or one of `outbound.cost_classes`; empty if it is not a
            number.
        emergency: Whether it is an emergency number.
        own_length: The length of the shortest prefix that opens it. Longer than its country code if
            another country, the main one of this code, has numbers that begin like it.
    """

    number: str
    country: str = ""
    cost_class: str = ""
    emergency: bool = False
    own_length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRules:
    """The numbers that this server may call, and the limits; as in `outbound`."""

    countries: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    cost_classes: tuple[str, ...] = ()
    concurrent: int = 20
    hourly: int = 300
    daily_minutes: int = 600
    number_daily: int = 5

    @property
    def opened(self) -> bool:
        """Whether any number is allowed."""
        return bool(self.countries or self.prefixes)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderUse:
    """What earlier orders have used: transfers for a transfer, other calls for any other call."""

    live: int = 0
    last_hour: int = 0
    day_minutes: float = 0.0
    number_day: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRefusal:
    """A refused order.

    Attributes:
        reason: A code, from the table above.
        text: One line with the key, its value and the cure, without the number.
    """

    reason: str
    text: str

    @property
    def limit(self) -> bool:
        """Whether the same order may be accepted later."""
        return self.reason in LIMITS


Explain: TypeAlias = Callable[[CalledNumber, OrderRules], str]


def _fill_explanation(text: str, called: CalledNumber, rules: OrderRules) -> str:
    """Return an explanation with the rules and the number's country and cost class filled in."""
    values: dict[str, Any] = asdict(rules)
    lists = ("countries", "prefixes", "denied", "cost_classes")
    values |= {key: ", ".join(values[key]) or "none" for key in lists}
    country = called.country or "no known country"
    return text.format(**values, cost_class=called.cost_class, country=country)


_TEXTS: Final = read_data(__name__, "order_rules.yaml")
NOTHING_ALLOWED: Final[str] = _TEXTS["number"]["nothing_allowed"].format()
NUMBER_REASONS: Final[Mapping[str, Explain]] = {
    reason: partial(_fill_explanation, text) for reason, text in _TEXTS["number"].items()
}
LIMITS: Final[Mapping[str, Explain]] = {
    limit: partial(_fill_explanation, text) for limit, text in _TEXTS["limits"].items()
}
"""Reasons that pass with time: the same order may be accepted later."""


def judge_number(called: CalledNumber, rules: OrderRules) -> OrderRefusal | None:
    """Return why a number may never be called under these rules; `None` if it may."""
    return _refusal_for_reason(_number_reason(called, rules), called, rules)


def judge_contact(called: CalledNumber, rules: OrderRules) -> OrderRefusal | None:
    """Return why a contact's number may never be called; `None` if it may.

    As long as no country or prefix is configured, numbers of all countries pass.
    """
    opened = rules if rules.opened else replace(rules, prefixes=(ANY,))
    return judge_number(called, opened)


def judge_use(
    called: CalledNumber, use: OrderUse, rules: OrderRules, *, transfer: bool = False
) -> OrderRefusal | None:
    """Return which limit forbids one more call now; `None` if none does.

    `use` must not include this order. A transfer has no limit of calls to one number.
    """
    over = {
        "number_daily": not transfer and use.number_day >= rules.number_daily,
        "concurrent": use.live >= rules.concurrent,
        "hourly": use.last_hour >= rules.hourly,
        "daily_minutes": use.day_minutes >= rules.daily_minutes,
    }
    return _refusal_for_reason(
        next((limit for limit, reached in over.items() if reached), ""), called, rules
    )


def _number_reason(called: CalledNumber, rules: OrderRules) -> str:
    """Return the first broken rule about the number, in the order of the table; empty if none."""
    if called.cost_class == SIP:
        return "emergency" if called.emergency else ""
    usual = called.cost_class in (ORDINARY, *rules.cost_classes)
    in_area = called.country in rules.countries or any(
        begins_like(called.number, prefix) and (prefix == ANY or len(prefix) >= called.own_length)
        for prefix in rules.prefixes
    )
    broken = {
        "emergency": called.emergency,
        "nothing_allowed": not rules.opened,
        "not_a_number": not called.cost_class,
        "denied": any(begins_like(called.number, shape) for shape in rules.denied),
        "cost_class": not usual,
        "country": not in_area,
    }
    return next((reason for reason, is_broken in broken.items() if is_broken), "")


def begins_like(number: str, shape: str) -> bool:
    """Return whether a number begins with a prefix, in which a dot stands for any digit."""
    pairs = zip(shape, number, strict=False)
    return len(number) >= len(shape) and all(wanted in (".", digit) for wanted, digit in pairs)


def _refusal_for_reason(
    reason: str, called: CalledNumber, rules: OrderRules
) -> OrderRefusal | None:
    if not reason:
        return None
    explain = NUMBER_REASONS.get(reason) or LIMITS[reason]
    return OrderRefusal(reason=reason, text=explain(called, rules))
