"""The owner's customer register (CRM): looks callers up and receives reports of calls."""
