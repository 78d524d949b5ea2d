"""The verbs of ``rs-run``."""

from __future__ import annotations

from rs_runtime import __version__
from rs_runtime.cli._main import LazyGroup, Verb

group = LazyGroup(
    name="rs-run",
    help="Restyle portraits with a bundle: picture to latent and tokens to picture.",
    verbs={
        "invert": Verb("rs_runtime.cli.invert:command", "Invert photos and restyle them."),
        "synth": Verb("rs_runtime.cli.synth:command", "Draw random heads or saved pictures."),
        "compare": Verb("rs_runtime.cli.compare:command", "Draw a photo in many domains at once."),
        "bench": Verb("rs_runtime.cli.bench:command", "Time a bundle on this machine."),
        "doctor": Verb("rs_runtime.cli.doctor:command", "Find out what works here."),
        "info": Verb("rs_runtime.cli.info:command", "Describe a bundle or a token set."),
    },
    version=__version__,
    extra="cpu",
)
