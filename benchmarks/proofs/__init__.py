"""Big proofs of the data plane: `python -m benchmarks.proofs`; small forms are in tests/proof."""
