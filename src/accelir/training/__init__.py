"""Training: the recipe of the shipped networks, for anyone's photographs and networks."""

from accelir.training.growth import grow, grow_by_copies
from accelir.training.recipe import Recipe, train
from accelir.training.run import Training, recipe_for, train_network
from accelir.weights import load_weights

__all__ = ["Recipe", "Training", "grow", "grow_by_copies", "load_weights", "recipe_for", "train", "train_network"]
