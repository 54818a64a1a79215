"""One module per model family: how its graphs are recognised, what they must hold, and what they say of themselves."""
