"""Generalised linear models with L1, L2 and group penalties."""
