"""python -m streamparts ... is the command `streamparts ...`."""

from streamparts.cli import command_line

command_line()
