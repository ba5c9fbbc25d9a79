"""One module a command: `add_arguments(parser)` and `run(args, config) -> exit code`."""
