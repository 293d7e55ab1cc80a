"""From files to flat pixels: dataset, region of interest, masks, exposure regions, PSF, response."""
