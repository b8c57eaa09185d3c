"""What the `isthmus` command does, one subject a file."""
