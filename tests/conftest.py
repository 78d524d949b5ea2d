"""Settings of every test process."""

import os

# Two test processes that each spread small operations over all cores wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
