"""What people and other systems learn of calls: record, alerts, metrics, CRM, spreadsheet."""
