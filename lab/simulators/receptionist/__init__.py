"""Who answers in place of a language model: a scripted receptionist."""
