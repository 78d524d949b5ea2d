"""The tables in miniature, the paper's and its relatives': what each needs, and what measures it.

Numbers are measured on rendered portraits. LPIPS* and ID* are the feature distance and the cosine
of identities of the project's own metric network, which no loss has seen, where the paper has
AlexNet's LPIPS and a public face network.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rs_train.demo_recipe import stages as demo_stages
from rs_train.stages import Stage
from rs_train.tables import (
    adaptation_page,
    encoders_pages,
    hyperdomainnet1,
    hyperdomainnet2,
    hyperdomainnet2_page,
    inversion_pages,
    kernels,
    recipe,
    styledomain,
)
from rs_train.tables.laboratory import Laboratory
from rs_train.tables.page import Result


@dataclass(frozen=True)
class Table:
    """A table or figure.

    Attributes:
        stages: Names of the stages whose results it measures.
        make: Measures them.
    """

    stages: tuple[str, ...]
    make: Callable[[Laboratory], Result]


def needed(table: Table) -> list[Stage]:
    """The stages of a table and all that they read, in the recipes' order."""
    own = (recipe, hyperdomainnet1, hyperdomainnet2, styledomain)
    known = [*demo_stages(), *(stage for module in own for stage in module.stages())]
    wanted = {stage.name for stage in known if stage.name in table.stages}
    for stage in reversed(known):  # those that are read come before those that read
        if any(other.reads(stage.out) for other in known if other.name in wanted):
            wanted.add(stage.name)
    return [stage for stage in known if stage.name in wanted]


TABLES = {
    "table1": Table(
        inversion_pages.COMPARED, lambda own: inversion_pages.comparison(own, extras=False)
    ),
    "table2": Table(
        inversion_pages.COMPARED, lambda own: inversion_pages.comparison(own, extras=True)
    ),
    "table3": Table(adaptation_page.STAGES, adaptation_page.page),
    "table4": Table(inversion_pages.ABLATED, inversion_pages.ablation),
    "table5": Table(inversion_pages.BASED, inversion_pages.bases),
    "figure3": Table(kernels.STAGES, kernels.page),
    "hyperdomainnet1": Table(hyperdomainnet1.STAGES, hyperdomainnet1.make),
    "styledomain": Table(styledomain.STAGES, styledomain.make),
    "hyperdomainnet2": Table(hyperdomainnet2_page.STAGES, hyperdomainnet2_page.page),
    "encoders1": Table(
        (*encoders_pages.STAGES, *encoders_pages.TEXT_STAGES),
        lambda own: encoders_pages.quality(own, encoders_pages.TEXT_GUIDED, "text"),
    ),
    "encoders2": Table(
        (*encoders_pages.STAGES, *encoders_pages.PICTURE_STAGES),
        lambda own: encoders_pages.quality(own, encoders_pages.PICTURE_GUIDED, "picture"),
    ),
    "encoders3": Table(
        (*encoders_pages.STAGES, *encoders_pages.TEXT_STAGES, *encoders_pages.PICTURE_STAGES),
        encoders_pages.reconstruction,
    ),
}
