"""The workspace file: one SQLite database. Nothing outside this package speaks SQL to it."""
