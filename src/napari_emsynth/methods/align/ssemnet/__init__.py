"""ssEMnet: features of an autoencoder and a vector map optimised for each section."""
