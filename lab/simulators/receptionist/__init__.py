"""A scripted receptionist, in place of a language model."""
