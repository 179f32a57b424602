"""What stage 2 is made of."""
