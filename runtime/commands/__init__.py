"""The `run-ssl` command: each subcommand parses, calls one library function, prints."""
