"""Who may do what at a node: identities, roles, tokens, and limits."""
