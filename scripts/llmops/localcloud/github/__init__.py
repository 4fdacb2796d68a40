"""GitHub on a laptop: pull requests, comments and checks, and the page on which a person sees them."""
