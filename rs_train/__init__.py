"""Training side of RefineStyle: everything that needs gradients."""
