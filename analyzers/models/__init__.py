"""Shared model loading: the model store and what reads weights from it."""
