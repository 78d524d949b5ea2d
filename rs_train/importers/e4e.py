"""The encoder in an e4e file (Tov et al. 2021): Encoder4Editing, pSp's tensors read otherwise."""

from functools import partial

from rs_train.importers.encoder_parts import pyramid_encoder
from rs_train.inverters.e4e import E4E

encoder_from_state = partial(pyramid_encoder, E4E)
