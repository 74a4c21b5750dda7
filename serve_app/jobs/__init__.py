"""Jobs: what the service takes on, where it remembers them, and how they go through the engine."""
