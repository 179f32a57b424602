"""Training and evaluation of AdaFocus from the command line: stages 0 to 3, benchmark, demo."""
