"""Recognises from the words alone, without a model, that a caller wants no further calls.

It complements the model's tool in case no model answers. A request for a call at another time, or
for a callback, is not an opt-out. A wrong match is better than a missed one, because a person can
remove a number from the list.
"""

import re
from typing import Final

from processors.answerer.phrase_rules import plain

_NOT_ALWAYS: Final = r"(?! (back|later|after|before|at|on|until|till|tomorrow|today|now|tonight))"
_NO_SIEMPRE: Final = r"(?! (despues|antes|manana|hoy|ahora|luego|mas tarde|a las))"
PHRASES: Final = (
    # English
    r"(dont|do not|never|stop|quit)( ever)? (call(ing)?|phon(e|ing)|ring(ing)?|bother(ing)?)"
    r" (me|us|here|this number)" + _NOT_ALWAYS,
    r"(dont|do not|never)( ever)? (call|phone|ring) (again|anymore|any more)",
    r"stop (calling|phoning|ringing)( me| us)?$",
    r"(take|remove|delete|get) (me|us|my (number|name|phone number)|this number) (off|from|out of)",
    r"(put|place|add) (me|us|my number|this number) (on|to|onto) (your|the) do not call",
    r"do not call list",
    r"(dont|do not) want (any (more )?|more |these |your )*calls",
    r"(dont|do not) want (you )?to (be called|call)" + _NOT_ALWAYS,
    r"(lose|delete|forget) (my|this) number",
    r"unsubscribe me",
    # Spanish
    r"no (me |nos )?(vuelva|vuelvan|vuelvas) a (llamar|molestar)",
    r"no me (llame|llamen|llames)( mas| nunca mas| otra vez)?" + _NO_SIEMPRE + r"( |$)",
    r"(deje|dejen|deja) de (llamar|molestar)",
    r"no quiero (que me llamen|mas llamadas|recibir (mas )?llamadas)",
    r"(quiteme|quitenme|borreme|borrenme|elimineme|borre mi numero|quite mi numero)",
    # Russian
    r"не звони(те)?\b(?! (мне |нам |сюда )?(после|до|завтра|сегодня|сейчас|утром|вечером)\b)",
    r"перестаньте (мне |нам )?звонить",
    r"(удалите|уберите|вычеркните) (меня|мой номер)",
    r"не надо (мне |нам )?(больше )?звонить",
    r"не хочу (больше )?(ваших |никаких )?звонков",
)  # fmt: skip
"""Searched in words without punctuation or accents."""
_COMPILED: Final = tuple(re.compile(rf"\b{phrase}") for phrase in PHRASES)


def wants_no_calls(said: str) -> bool:
    """Return whether the caller asks not to be called again."""
    words = plain(said)
    return any(item.search(words) for item in _COMPILED)
