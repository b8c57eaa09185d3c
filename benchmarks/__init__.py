"""What takes too long for the tests: see benchmarks/proofs."""
