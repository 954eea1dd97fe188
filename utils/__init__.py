"""Training machinery: configuration, the loop, optimisers, schedules, losses, checkpoints, precision, processes, run log."""
