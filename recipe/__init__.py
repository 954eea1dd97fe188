"""What the teacher's and the student's script share; besides the scripts, the only place that sees a config."""
