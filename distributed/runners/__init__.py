"""Where the members of a campaign run: in this process, or on Ray."""
