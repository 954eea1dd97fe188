"""The parts of `data.decode`: what a file is, a module for each format that needs more than Pillow, and which way up it is."""
