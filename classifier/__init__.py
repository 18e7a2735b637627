"""The library that the stages and the command line use."""
