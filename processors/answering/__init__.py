"""The LLM stage: context, answers, early answers, text clean-up."""
