"""Domains: the change of a generator that draws its heads in another look."""
