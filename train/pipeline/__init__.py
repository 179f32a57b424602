"""Whole runs: all stages and the benchmark, one after the other and side by side."""
