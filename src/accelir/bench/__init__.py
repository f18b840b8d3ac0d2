"""Measuring: the demo, and what the scripts in ``benchmarks/`` share."""
