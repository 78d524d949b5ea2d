"""``python -m rs_runtime.cli`` is ``rs-run``."""

from rs_runtime.cli import main

main()
