"""Ray mechanics: one worker actor around one analyzer, the pool, GPU and performance monitors."""
