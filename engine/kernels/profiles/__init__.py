"""Line-of-sight templates with parameter derivatives: generalised NFW squared and Lorimer disk (operations in `op`)."""
