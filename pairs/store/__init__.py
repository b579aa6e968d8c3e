"""The workspace file: one SQLite database. Nothing outside this package opens it or knows its driver."""
