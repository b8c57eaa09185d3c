"""Measurements by ratio: everything compared is visited in turn inside one run."""
