"""`python -m trajscope`."""

from trajscope.cli import main

main(prog_name="trajscope")
