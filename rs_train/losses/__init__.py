"""Losses, one file each; every function returns an unweighted scalar."""
