"""What every part shares: errors, file access, layer table, token sets, image rules, bundles.

What the trainer writes is by construction what the runtime reads, because both use this package. It
imports NumPy, safetensors and the standard library only.
"""
