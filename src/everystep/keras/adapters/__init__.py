"""One module for each framework under Keras that the engine runs in."""
