"""What every command runs in: folders, processes, progress, states."""
