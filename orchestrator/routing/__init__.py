"""What the caller knows of its nodes, and the Decision it makes of that."""
