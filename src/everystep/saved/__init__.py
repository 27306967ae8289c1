"""Models from elsewhere: live Keras models, and files."""
