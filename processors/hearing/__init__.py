"""The recognisers' stage, and what the caller said by voice or by key."""
