"""From encoded bytes to the pixels that everything else sees: one set of rules for every image.

Training, prediction and serving all go through `decode.decode` and `resize.to_array`, so that an
image means the same wherever it comes in. The packed images of a data set, their manifest and their
splits lie here too.
"""
