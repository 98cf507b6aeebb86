"""Tell: logs, journals and the live view, all fed with the same typed entries."""
