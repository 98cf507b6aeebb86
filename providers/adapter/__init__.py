"""Any of Pipecat's services as a rung: how it is built, and its recogniser, model and voice."""
