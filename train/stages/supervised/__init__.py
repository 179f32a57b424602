"""What stages 0, 1 and 3 share."""
