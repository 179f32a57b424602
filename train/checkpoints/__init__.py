"""What stages hand on, and the published files."""
