"""The capture proof: what passes between edge and cloud, recorded and searched for secrets."""
