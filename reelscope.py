"""Reelscope."""
