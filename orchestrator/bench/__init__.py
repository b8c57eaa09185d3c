"""`isthmus bench`: what the library costs and reaches, against bare transports and its peers."""
