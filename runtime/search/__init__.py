"""The images of an embedding job that are nearest to a picture: exactly, or with an index, in bounded memory."""
