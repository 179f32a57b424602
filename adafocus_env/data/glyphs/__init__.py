"""The built-in videos, made from seeds."""
