"""Small checkpoints of real architectures, random weights: for tests, and (at real size) for benchmarks/gpu.py."""
