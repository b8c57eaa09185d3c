"""The words of the house: errors, deadlines, labels, calls, services."""
