"""The load generator's own clients, one for each protocol that a peer speaks."""
