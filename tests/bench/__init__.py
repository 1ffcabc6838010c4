"""Measurements as ratios: each subject beside the barest thing that does the same, in one run."""
