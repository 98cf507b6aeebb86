"""C libraries for speech synthesis and recognition, shared by the local providers and the lab."""
