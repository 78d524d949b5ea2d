"""The command rs-train: a file a verb, loaded when it is used."""

from rs_runtime.cli import LazyGroup, Verb, run

group = LazyGroup(
    name="rs-train",
    help="Train generators, inverters, judges and domains of RefineStyle.",
    verbs={
        "render": Verb("rs_train.cli.render:command", "Render portraits whose truth is known."),
        "align": Verb("rs_train.cli.align:command", "Crop photos to their faces."),
        "generator": Verb("rs_train.cli.generator:command", "Train a generator."),
        "judge": Verb(
            "rs_train.cli.judge:command", "Train a CLIP, an ArcFace or a metric network."
        ),
        "landmarks": Verb(
            "rs_train.cli.landmarks:command", "Train a network that finds faces in photos."
        ),
        "inverter": Verb("rs_train.cli.inverter:command", "Train an inverter."),
        "domain": Verb("rs_train.cli.domain:command", "Adapt the generator to a domain."),
        "hypernetwork": Verb(
            "rs_train.cli.hypernetwork:command", "Train one network for many domains."
        ),
        "import": Verb("rs_train.cli.import_:command", "Convert a public checkpoint."),
        "directions": Verb(
            "rs_train.cli.directions:command", "Import, fit and measure edit directions."
        ),
        "describe": Verb(
            "rs_train.cli.describe:command", "Count what a preset configures, part by part."
        ),
        "eval": Verb("rs_train.cli.eval:command", "Measure inversion and domains."),
        "demo": Verb("rs_train.cli.demo:command", "Rebuild the demo from nothing."),
    },
    extra="train",
)


def main() -> None:
    """Entry point of rs-train."""
    run(group, "rs-train")
