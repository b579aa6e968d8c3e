"""llama.cpp: GGUF models in a worker process of ours, many sequences decoded together."""
