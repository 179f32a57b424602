"""List files and the data sets that they describe."""
