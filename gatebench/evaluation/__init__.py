"""From a trained model to its row: hard decisions per input, accuracy, MACs, audit findings."""
