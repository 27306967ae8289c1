"""What recurrent layers return and why. Models of everystep and of Keras are treated by what they can do."""
