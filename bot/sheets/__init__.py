"""A mirror of calls and alerts in a Google spreadsheet, for people who work there."""
