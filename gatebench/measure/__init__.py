"""Instruments: they measure and know nothing of models, recipes or training."""
