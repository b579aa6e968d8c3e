"""GPT-2: fine-tune, generate, measure, export. Imports no other room, so that it runs from a bare source tree."""
