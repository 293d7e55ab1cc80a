"""Learn the log-likelihood, sample the copy, weight its draws by the original.

A likelihood of tens of parameters whose exact gradient costs a millisecond is learnt to a fraction of a nat from a few
thousand points, because every point brings as many derivatives as there are parameters. Draws from the copy are free;
the likelihood itself at some thousand of them turns them into exact draws, says how good the copy is, and gives log Z.

    target      the density in the coordinates of its fluxes: log-likelihoods, gradients, prior, features
    design      the points at which the likelihood is known
    network     the copy's function: a quadratic form plus a perceptron
    copy        network, frame and wall: a log density that costs microseconds
    training    fits the network to values and gradients
    sampling    Hamiltonian Monte Carlo on the copy, and its evidence
    trajectories  the same on the likelihood itself
    scouts      chains of these, to see where the copy does not go
    chains      exact chains: proposals from the copy, accepted by the likelihood, and trajectories on it if need be
    emulation   the order of all this
    optima      whether the copy has all modes that the climbs found
"""
