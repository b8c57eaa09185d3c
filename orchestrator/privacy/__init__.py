"""What runs on the edge to lower a label: finding private values in text and masking them."""
