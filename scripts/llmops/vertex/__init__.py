"""The client side of Vertex AI: registry, endpoints, tuning, request log; the same everywhere."""
