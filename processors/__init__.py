"""Do: thin Pipecat processors and observers that turn frames into facts and decisions into frames."""
