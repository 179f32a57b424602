"""Policies: networks, distributions of actions, what they see, their files."""
