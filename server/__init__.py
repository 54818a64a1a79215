"""The composition root: one process that joins the wire, the batcher, the engines and the pure core."""
