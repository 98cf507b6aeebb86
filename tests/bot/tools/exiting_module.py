"""An owner's module that exits when it is imported, for the tests of owner tools."""

raise SystemExit("CRM_URL is not set")
