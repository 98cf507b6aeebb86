"""The mirror of calls and alerts in a Google spreadsheet."""
