"""Stages 0 to 3."""
