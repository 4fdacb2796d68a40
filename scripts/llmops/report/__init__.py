"""What a person reads: the comment, the page, the check."""
