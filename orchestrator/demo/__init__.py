"""The main job: a private support inbox, sorted at the edge and in the cloud."""
