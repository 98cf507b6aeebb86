"""C libraries that speak and hear, each bound once: for the local voices and for the lab's."""
