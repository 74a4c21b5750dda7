"""One file per analyzer. `pipeline.registry.discover` finds them."""
