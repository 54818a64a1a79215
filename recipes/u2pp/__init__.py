"""A small U2++ recogniser: conformer encoder, CTC, attention decoders in both directions, dynamic chunks."""
