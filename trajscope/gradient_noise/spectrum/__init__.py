"""The spectrum of the diffusion matrix, exactly or from a sketch."""
