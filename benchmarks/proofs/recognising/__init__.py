"""Texts with known private values, to measure the recognisers with."""
