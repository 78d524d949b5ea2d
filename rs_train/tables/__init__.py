"""The tables of results: what is measured, on which pictures, and how it is written down."""
