"""Backends: one protocol, four doors (nim, openai, ollama, llama-cpp). Imports no other room."""
