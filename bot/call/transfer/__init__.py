"""Transfer of a caller to a person: the decision, both legs and what each of them hears."""
