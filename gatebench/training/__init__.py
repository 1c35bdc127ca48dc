"""From a recipe to a trained model in a run folder: loop, schedules, checkpoints, live view."""
