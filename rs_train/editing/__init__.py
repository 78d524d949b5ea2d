"""Edit directions: those of other projects, and fitting one's own."""
