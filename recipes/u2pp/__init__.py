"""A small U2++ recogniser: conformer encoder, CTC, left-to-right and right-to-left attention decoders, dynamic chunks."""
