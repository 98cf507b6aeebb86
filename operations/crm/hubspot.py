"""HubSpot: people by their number, and calls as engagements.

Source: developers.hubspot.com, CRM API v3: objects/contacts/search, objects/calls.
"""

from typing import Final

from operations.crm.rest import RestMapping, RestRequest

URL: Final = "https://api.hubapi.com"
KNOWN: Final = ("firstname", "lastname", "email", "company", "lifecyclestage")


HUBSPOT: Final = RestMapping(
    look_up=RestRequest(
        method="POST",
        path="/crm/v3/objects/contacts/search",
        body={
            "filterGroups": [
                {"filters": [{"propertyName": each, "operator": "EQ", "value": "{number}"}]}
                for each in ("phone", "mobilephone")
            ],
            "properties": list(KNOWN),
            "limit": 1,
        },
    ),
    found="results.0",
    name=("properties.firstname", "properties.lastname"),
    fields={each: f"properties.{each}" for each in KNOWN[2:]},
    write=RestRequest(
        method="POST",
        path="/crm/v3/objects/calls",
        body={
            "properties": {
                "hs_timestamp": "{began_ms}",
                "hs_call_title": "Call with {agent}",
                "hs_call_body": "{account}",
                "hs_call_direction": "{direction_upper}",
                "hs_call_duration": "{length_ms}",
                "hs_call_from_number": "{from_number}",
                "hs_call_to_number": "{to_number}",
                # Of its BUSY, CALLING_CRM_USER, CANCELED, COMPLETED, CONNECTING, FAILED,
                # IN_PROGRESS, NO_ANSWER, QUEUED and RINGING those that are an end.
                "hs_call_status": "{status_upper}",
            }
        },
    ),
    # Whether HubSpot looks at it is not documented; a repeat carries the same one.
    key_header="Idempotency-Key",
)
"""An engagement is not tied to its contact here: that takes an id which a template cannot omit."""
