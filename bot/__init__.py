"""Put together and run: configuration, commands, the pipeline's assembly and the server."""
