"""Vertex AI on a laptop, from the official API definitions, with a small real model behind it."""
