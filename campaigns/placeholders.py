"""Placeholders in a campaign's texts, such as `{name}` or `{city}`, and those without a value.

A placeholder is a column's heading in braces. Case and the characters between words do not matter
when a file is imported: the column `Due date` fills `{due_date}`. Every contact has a `{number}`.
"""

from collections.abc import Collection, Mapping
from typing import Final

from calls.outside_text import placeholders
from campaigns.model import Campaign
from contacts.contact_columns import fold
from contacts.contact_files import Columns

NAME: Final = "name"
NUMBER: Final = "number"


def texts_of(campaign: Campaign) -> Mapping[str, str]:
    """Return the texts of a campaign whose placeholders are filled for each contact, by key."""
    return {
        "greeting": campaign.greeting,
        "disclosure": campaign.disclosure,
        "voicemail_text": campaign.voicemail_text,
        "amd.screening": campaign.amd.screening,
        "script": campaign.script,
        "goals": " ".join(campaign.goals),
    }


def needed_by(campaign: Campaign) -> Mapping[str, tuple[str, ...]]:
    """Return the placeholders that a contact may lack, with the keys of the texts that use them."""
    needed = dict[str, tuple[str, ...]]()
    for key, text in texts_of(campaign).items():
        for name in placeholders(text):
            if name != NUMBER:
                needed[name] = (*needed.get(name, ()), key)
    return needed


def lacking(needed: Collection[str], name: str, fields: Mapping[str, str]) -> tuple[str, ...]:
    """Return the placeholders for which a contact has no value."""
    return tuple(item for item in needed if not (name if item == NAME else fields.get(item)))


def headings_for(needed: Collection[str], columns: Columns) -> tuple[dict[str, str], list[str]]:
    """Return placeholders by column, where the names differ, and placeholders without a column.

    A column with the exact name wins. Any other column fills one placeholder at most.
    """
    by_folded = {fold(heading): heading for heading in sorted(columns.fillable, reverse=True)}
    renamed, missing = dict[str, str](), list[str]()
    for item in needed:
        if (item == NAME and columns.has_name) or item in columns.fillable:
            continue
        heading = by_folded.get(fold(item))
        if heading is None or heading in renamed:
            missing.append(item)
        else:
            renamed[heading] = item
    return renamed, missing
