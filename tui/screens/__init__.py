"""One module for each place of the application, imported when somebody first goes there."""
