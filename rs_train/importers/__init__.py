"""Checkpoints of other projects, read without executing them."""
