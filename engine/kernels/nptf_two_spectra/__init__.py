"""The joint likelihood of several energy bins where two kinds of point sources have spectra of their own."""
