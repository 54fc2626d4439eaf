"""The commands, a module each, with what several of them share."""
