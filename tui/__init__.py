"""The application: screens, widgets and keys on Textual. It may use every room, and waits for none of them."""
