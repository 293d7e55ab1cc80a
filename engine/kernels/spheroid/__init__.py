"""Line-of-sight integrals of spheroids of any radial profile, whose centre and shape may move."""
