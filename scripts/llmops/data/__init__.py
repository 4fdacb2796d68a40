"""From source tables to the directory that a data pointer stands for."""
