"""The published code's files."""
