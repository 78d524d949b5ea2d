"""A small network that finds faces and their five points anywhere in a photo."""
