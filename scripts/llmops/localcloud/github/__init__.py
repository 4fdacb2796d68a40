"""GitHub on a laptop: pull requests, comments, checks, and the page that shows them."""
