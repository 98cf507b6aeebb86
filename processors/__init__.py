"""Do: thin Pipecat processors that turn frames into facts and decisions into frames."""
