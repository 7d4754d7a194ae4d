"""What is measured of a window, data and draws of a null alike."""
