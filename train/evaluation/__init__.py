"""Judging policies: evaluate, benchmark, record."""
