"""`python -m repix` and `torchrun -m repix`: the command line."""

from repix.cli import main

main()
