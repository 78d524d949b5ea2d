"""Which kinds of model can be exported; free of PyTorch, so that `rs-export --help` is quick."""

# Parts that each model consists of.
MODELS = {
    "two_stage": ("generator", "base_inverter", "refiner"),
    "base": ("generator", "base_inverter"),
    "generator": ("generator",),
}
# The part that a checkpoint is, by its kind.
PART_OF_KIND = {
    "generator": "generator",
    "style_transformer": "base_inverter",
    "refiner": "refiner",
}
