"""From a merge to the release that answers all traffic, or back: steps, locks, checks."""
