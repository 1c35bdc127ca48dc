"""Data sets as uint8 arrays in memory: the catalogue, folders of images, .npz files, the procedural set, and batches of them."""
