"""The language models' stage: context, answers, early answers, text clean-up."""
