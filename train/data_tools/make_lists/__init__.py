"""`adafocus make-lists`: list files from class folders and from the annotations of others."""
