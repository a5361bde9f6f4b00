"""What a model does: evaluated, classified with, measured, verified; and what this machine can do."""
