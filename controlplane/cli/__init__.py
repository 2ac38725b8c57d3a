"""`reflexarc ...`: one module for each command, with `add_parser(subparsers)` and `run(args) -> int`.

`main` imports only the module of the command that was given.
"""
