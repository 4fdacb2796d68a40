"""How a release answers: the code that the evals call and the container runs."""
