"""Where data sets come from: one module a kind of source, and the stage download around them."""
