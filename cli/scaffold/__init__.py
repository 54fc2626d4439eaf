"""The stages of `millrace new`: inspect data, ask open questions, render a use case, try it out, and write it."""
