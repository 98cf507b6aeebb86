"""Information for people and other systems: record, alerts, metrics, CRM, spreadsheet."""
