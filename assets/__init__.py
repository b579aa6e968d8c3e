"""Files that ship beside the code."""
