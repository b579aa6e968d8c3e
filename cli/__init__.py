"""The command line: the same jobs as the application, from a shell."""
