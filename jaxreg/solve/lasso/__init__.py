"""Least squares with L1 and L2 penalties, exactly."""
