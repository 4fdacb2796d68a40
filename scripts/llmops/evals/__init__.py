"""What both releases answered: cases, answers, scores, cached by content."""
