"""Which kinds of model can be exported; free of PyTorch, so that `rs-export --help` is quick."""

# Parts that each model consists of.
MODELS = {
    "two_stage": ("generator", "base_inverter", "refiner"),
    "one_stage": ("generator", "inverter"),
    "base": ("generator", "base_inverter"),
    "feature_shift": ("generator", "feature_encoder", "feature_shift"),
    "generator": ("generator",),
}
# Parts that a model which inverts pictures may have beside these.
OPTIONAL = ("landmarks",)
# Likewise, both or none: a CLIP, and the network that makes domains of its embeddings.
PROMPT = ("prompt_clip", "hypernetwork")
# The part that a checkpoint is, by its kind.
PART_OF_KIND = {
    "generator": "generator",
    "style_transformer": "base_inverter",
    "psp": "base_inverter",
    "e4e": "base_inverter",
    "one_stage": "inverter",
    "refiner": "refiner",
    "feature_style": "feature_encoder",
    "feature_shift": "feature_shift",
    "landmarks": "landmarks",
    "clip": "prompt_clip",
    "hypernetwork": "hypernetwork",
}
# Why models that are trained here to be compared have no part.
NOT_EXPORTED = {
    "restyle": "it synthesises between its own steps",
    "hyperstyle": "it scales the generator's kernels, which graphs share, and synthesises between",
    "hfgi": "it changes the generator's features, which graphs have no input for",
}
