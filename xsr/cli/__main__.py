"""``python -m xsr.cli``: the command without its script."""

from xsr.cli import main

main()
