"""The do-not-call list: requests in calls, the entries for operators."""
