"""python -m rs_train.cli"""

from rs_train.cli import main

main()
