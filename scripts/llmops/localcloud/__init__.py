"""The cloud on a laptop: the same clients and the same code, at other addresses."""
