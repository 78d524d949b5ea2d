"""The encoder in a pSp file (Richardson et al. 2021): GradualStyleEncoder."""

from functools import partial

from rs_train.importers.encoder_parts import pyramid_encoder
from rs_train.inverters.psp import PSP

encoder_from_state = partial(pyramid_encoder, PSP)
