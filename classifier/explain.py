"""What the network looks at: Grad-CAM, first-layer filters, feature maps, an embedding of the test set.

The stage ``evaluate`` writes the following files to ``data/explain/``; all can be read with numpy
and the csv module alone, and none holds pickled objects. Pictures are uint8 [H, W, C] as in
``data/prepared/``; ``row`` is the picture's row in ``data/prepared/{split}.npy``. Files marked
(optional) are missing where the network has no such thing (a network without convolutions) or
there is nothing to show (a set without mistakes still gets the table, with a header alone).

From the predictions on the test split (classifier/mistakes.py, classifier/label_errors.py):

- ``mistakes.csv``: row, id, actual, predicted, probability (of the predicted class),
  actual_probability; most confident mistake first.
- ``uncertain.csv``: row, id, actual, predicted, probability, runner_up (second class),
  margin (probability of the first minus that of the second class); smallest margin first.
- ``confused_pairs.csv``: actual, predicted, count, share (of the actual class's test pictures,
  0..1), rows (up to 8 test rows, separated by spaces, most confident first); largest count first.
- ``label_errors.csv``: id, split (val or test), row, given, suggested, score (probability of the
  suggested minus that of the given class, -1..1); most suspicious first.

From the network (this module):

- ``gradcam.csv``: index, row, id, actual, predicted, probability, right (1 or 0): one line for each
  entry of the two arrays below; right predictions first. (optional)
- ``gradcam_images.npy``: uint8 [M, H, W, C]; ``gradcam_heat.npy``: float32 [M, H, W] in 0..1, 1 is
  where the evidence for the predicted class is strongest. (optional)
- ``filters.npy``: float32 [F, C, h, w], the weights of the first convolution. (optional)
- ``feature_maps.npz``: key ``picture`` uint8 [H, W, C], then for each 4-D stage of the backbone, in
  the order of the network, its name -> float32 [up to 16, h, w] activations. (optional)
- ``embedding.csv``: row, id, x, y, actual, predicted: principal components of the input of the last
  linear layer, for a random sample of the test split.
- ``explain.json``: gradcam_stage (name of the backbone stage or null), embedding_variance (share of
  the variance that x and y hold).
"""
