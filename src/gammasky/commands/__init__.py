"""The commands of the command line, one file each. They import the engine when they run, not before."""
