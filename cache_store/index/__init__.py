"""Nearest captions: exact search in torch, which is the oracle, and FAISS."""
