"""The report of a run: what its files say, gathered, drawn and written as one HTML page that needs nothing else."""
