"""One module a role of the bundle: what is traced, with which inputs and outputs."""
