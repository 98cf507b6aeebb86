"""Work after a call has ended: its result, callbacks for campaigns, the report."""
