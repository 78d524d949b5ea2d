"""Pictures and reports about what a bundle does."""
