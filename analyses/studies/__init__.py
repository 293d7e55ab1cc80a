"""Named studies: a question of the field each, one file and one command."""
