"""A run: processes, the optimiser's step, log, checkpoints."""
