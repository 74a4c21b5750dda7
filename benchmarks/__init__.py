"""What the performance and truth figures come from; each module runs alone: `python -m benchmarks.NAME`."""
