"""Vertex AI on a laptop: so far its publisher models, with a small real model behind them."""
