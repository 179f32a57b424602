"""Searching an algorithm's parameters."""
