"""The LLM stage: context, answers, early answers, cleaning of text."""
