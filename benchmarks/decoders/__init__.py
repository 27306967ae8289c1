"""Ways to decode with an encoder-decoder, one to a file: `prepare(Decoding) -> call`, and the versions they are of."""
