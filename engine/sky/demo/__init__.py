"""The demo sky: the project's own seeded simulation, made on the user's machine when first asked for.

Nothing in it is data or a published map: every template is an analytic shape of this package that stands in for the map
of that role, under the name that `analyses/fiducial.toml` asks for.
"""

#: names of the datasets: the sky of the fiducial model, and one in four energy bins
DEMO, DEMO_ENERGY = "demo", "demo_energy"
DEMOS = (DEMO, DEMO_ENERGY)
#: of the bright sources and of the simulated counts: the first one above 0 with which the flux of both populations that
#: was drawn for the fitted pixels is within 5 % of the truth, so that truth and posterior are about the same sky
SEED = 5
#: of the simulated counts in four energy bins: as above, the fluxes within 3 %, and the counts of every bin within 1 sd
ENERGY_SEED = 21
#: SHA-256 of every other file of its folder, as `sha256sum` writes them
SUMS_NAME = "SHA256SUMS"
#: distance of the Sun from the Galactic Centre [kpc]
SUN_KPC = 8.224
