// Joint likelihood of several energy bins on a GPU: log p of every pixel's counts and its whole gradient in one pass.
//
// It follows nptf/recursion.cu, whose text comes before this one: a block is one warp, a thread one pixel. With q_n for the
// sources alone, P = exp(x_0 - M) sum_n n! q_n c_n, sum_n c_n t^n = prod_e (mu_e + phi_e t)^k_e / k_e!; cpu.py has the
// formulae of the gradient, the units that keep numbers in range, and the edge cases, which hold here too.

#define LARGEST 1.7976931348623157e308
#define SMALLEST 1e-90    // of the sum: what underflowed among its terms is less than 1e-108
#define VANISHING 1e-290  // a mean or share whose inverse might not be a float64
#define LOST 1e-290       // a coefficient below this may have lost digits to underflow
#define FAR 1e-6          // ratio of the parts of a factor from which on this spoils quotients; see cpu.py
#define EULER 2.718281828459045

// The energy bins of one pixel: entry e of counts, mean and d_mean at e * step, of shares at e, of by_share at e * LANES.
struct Bins {
    Index number, step;
    const Index *counts;
    const double *mean, *shares;
    double *d_mean, *by_share;
};

// Coefficients of a product of factors, entry n at n * LANES; 2^power is a factor of each where numbers leave the range.
struct Coefficients {
    double *value;
    int *power;
};

__device__ Number entry(const double *value, const int *power, Index n)
{
    const Number found = {value[n * LANES], power[n * LANES]};
    return found;
}

__device__ void set_entry(double *value, int *power, Index n, Number to)
{
    value[n * LANES] = to.value;
    power[n * LANES] = to.power;
}

// Whether all means and shares are numbers of at least 0; `total` gets the sum of the means.
__device__ bool valid_bins(const Bins &bins, double *total)
{
    bool valid = true;
    *total = 0.0;
    for (Index e = 0; e < bins.number; ++e) {
        valid = valid && between(bins.mean[e * bins.step], 0.0, LARGEST) && between(bins.shares[e], 0.0, LARGEST);
        *total += bins.mean[e * bins.step];
    }
    return valid && *total <= LARGEST;
}

// Sums over n of z_n d_n and z_{n+1} d_n, d(t) = c(t) / (mu + phi t) of degree k - 1: from the lowest power up as long as
// mu d_n is the larger part of c_n = mu d_n + phi d_{n-1}, from the highest down where phi d_{n-1} is.
__device__ void divided(Index k, const double *c, const double *z, double mu, double phi, double *by_mean, double *by_share)
{
    const double ratio = phi < VANISHING ? 0.0 : phi / mu;
    double d = 0.0, first = 0.0, second = 0.0;
    Index begin = 0;
    for (; mu >= VANISHING && begin < k; ++begin) {
        const double whole = c[begin * LANES] / mu, part = whole - ratio * d;
        if (!(part >= 0.5 * whole))
            break;
        d = part;
        first += z[begin * LANES] * d;
        second += z[(begin + 1) * LANES] * d;
    }
    d = 0.0;
    for (Index n = k - 1; n >= begin; --n) {
        d = (c[(n + 1) * LANES] - mu * d) / phi;
        first += z[n * LANES] * d;
        second += z[(n + 1) * LANES] * d;
    }
    *by_mean = first;
    *by_share = second;
}

// Whether quotients of c can be worked out from its ends.
__device__ bool can_divide(Index k, const double *c, const Bins &bins, double units, double unit)
{
    const bool lowest = c[0] < LOST, highest = c[k * LANES] < LOST;
    bool good = true;
    for (Index e = 0; (lowest || highest) && e < bins.number; ++e) {
        const double mu = bins.mean[e * bins.step] * units, phi = bins.shares[e] * (unit * units);
        if (bins.counts[e * bins.step] > 0)
            good = good && !(lowest && mu >= VANISHING && mu < FAR * phi) &&
                   !(highest && phi >= VANISHING && phi < FAR * mu);
    }
    return good;
}

// log of the sum of one pixel in plain floating point, and with `want_gradient` its derivatives, times `factor` those by
// means and shares, and in y the weights d log P / d x_m; false where a number left the safe range.
__device__ bool plain(
    Index k, const View &view, const Bins &bins, double total, double factor, bool want_gradient, Column work,
    Coefficients c, double *log_sum)
{
    if (!recursion(k, view, 0.0, work))
        return false;
    const double unit = (k > 0 ? k : 1) / EULER, units = k > 0 ? k / (EULER * (total + unit)) : 1.0;
    double *y = work.y, *q = work.q, *row = c.value;
    Index degree = 0;
    row[0] = 1.0;
    for (Index e = 0; e < bins.number; ++e) {
        const double mu = bins.mean[e * bins.step] * units, phi = bins.shares[e] * (unit * units);
        for (Index j = 1; j <= bins.counts[e * bins.step]; ++j) {
            const double low = mu / j, high = phi / j;
            double next = row[degree * LANES];
            row[(degree + 1) * LANES] = high * next;
            for (Index n = degree; n > 0; --n) {
                const double before = row[(n - 1) * LANES];
                row[n * LANES] = low * next + high * before;
                next = before;
            }
            row[0] = low * next;
            ++degree;
        }
    }
    double weight = 1.0, sum = 0.0;
    for (Index n = 0; n <= k; ++n) {
        y[n * LANES] = weight * q[n * LANES];  // z_n, in place of y_n
        sum += y[n * LANES] * row[n * LANES];
        weight *= (n + 1) / unit;
    }
    if (!between(sum, SMALLEST, LARGEST) || (want_gradient && !can_divide(k, row, bins, units, unit)))
        return false;
    *log_sum = log(sum) - k * log(units);
    if (!want_gradient)
        return true;
    for (Index e = 0; e < bins.number; ++e) {
        const Index number = bins.counts[e * bins.step];
        double by_mean = 0.0, by_share = 0.0;
        const double mu = bins.mean[e * bins.step] * units, phi = bins.shares[e] * (unit * units);
        if (number > 0)
            divided(k, row, y, mu, phi, &by_mean, &by_share);
        const double scale = number * (factor / sum) * units;
        bins.d_mean[e * bins.step] = scale * by_mean - factor;
        bins.by_share[e * LANES] = scale * unit * by_share;
    }
    weight = 1.0;
    for (Index n = 0; n <= k; ++n) {
        row[n * LANES] *= weight;  // n! c_n
        weight *= (n + 1) / unit;
    }
    for (Index m = 1; m <= k; ++m) {
        double found = 0.0;
        for (Index j = 0; j <= k - m; ++j)
            found += row[(m + j) * LANES] * q[j * LANES];
        y[m * LANES] = found / sum;
        work.y_power[m * LANES] = 0;
    }
    return true;
}

// Fill the coefficients of the product of all factors, of one photon less in the bin `without`; its degree.
__device__ Index scaled_product(const Bins &bins, Index without, Coefficients c)
{
    Index degree = 0;
    set_entry(c.value, c.power, 0, number(1.0, 0));
    for (Index e = 0; e < bins.number; ++e) {
        const Index last = bins.counts[e * bins.step] - (e == without ? 1 : 0);
        for (Index j = 1; j <= last; ++j) {
            const Number low = number(bins.mean[e * bins.step] / j, 0), high = number(bins.shares[e] / j, 0);
            set_entry(c.value, c.power, degree + 1, times(high, entry(c.value, c.power, degree)));
            for (Index n = degree; n > 0; --n)
                set_entry(c.value, c.power, n, plus(times(low, entry(c.value, c.power, n)),
                                                    times(high, entry(c.value, c.power, n - 1))));
            set_entry(c.value, c.power, 0, times(low, entry(c.value, c.power, 0)));
            ++degree;
        }
    }
    return degree;
}

// sum over n = 0 .. degree of (n + more)! q_{n+more} c_n.
__device__ Number scaled_sum(Index degree, Index more, Column work, Coefficients c)
{
    Number factorial = number(1.0, 0), total = number(0.0, 0);
    for (Index n = 0; n <= degree; ++n) {
        const Index photons = n + more;
        if (photons > 0)
            factorial = times(factorial, number((double)photons, 0));
        const Number term = times(factorial, entry(work.q, work.q_power, photons));
        total = plus(total, times(term, entry(c.value, c.power, n)));
    }
    return total;
}

// The same as `plain` for a pixel whose numbers each carry their own power of 2; NaN where there is no likelihood.
__device__ double by_powers(
    Index k, const View &view, const Bins &bins, double factor, bool want_gradient, Column work, Coefficients c,
    Coefficients fewer)
{
    const bool good = scaled_recursion(k, view, work);
    Number sum = {nan(""), 0};
    if (good) {
        scaled_product(bins, -1, c);
        sum = scaled_sum(k, 0, work, c);
    }
    const bool possible = sum.value > 0.0;
    for (Index e = 0; want_gradient && e < bins.number; ++e) {
        double by_mean = possible ? 0.0 : nan(""), by_share = by_mean;
        if (possible && bins.counts[e * bins.step] > 0) {
            const Index degree = scaled_product(bins, e, fewer);
            const Number first = scaled_sum(degree, 0, work, fewer), second = scaled_sum(degree, 1, work, fewer);
            by_mean = ldexp(first.value / sum.value, first.power - sum.power);
            by_share = ldexp(second.value / sum.value, second.power - sum.power);
        }
        bins.d_mean[e * bins.step] = factor * (by_mean - 1.0);
        bins.by_share[e * LANES] = factor * by_share;
    }
    Number factorial = number(1.0, 0);
    for (Index n = 1; possible && want_gradient && n <= k; ++n) {
        factorial = times(factorial, number((double)n, 0));
        set_entry(c.value, c.power, n, times(factorial, entry(c.value, c.power, n)));
    }
    for (Index m = 1; want_gradient && m <= k; ++m) {
        Number total = number(0.0, 0);
        for (Index j = 0; possible && j <= k - m; ++j)
            total = plus(total, times(entry(c.value, c.power, m + j), entry(work.q, work.q_power, j)));
        work.y[m * LANES] = possible ? total.value / sum.value : nan("");
        work.y_power[m * LANES] = possible ? total.power - sum.power : 0;
    }
    return log(sum.value) + (possible ? sum.power * 0.6931471805599453 : 0.0);  // -inf for impossible counts
}

// The likelihood that cannot be of one pixel: NaN everywhere.
__device__ double not_a_likelihood(Index k, const Bins &bins, bool want_gradient, Column work)
{
    for (Index e = 0; want_gradient && e < bins.number; ++e)
        bins.d_mean[e * bins.step] = bins.by_share[e * LANES] = nan("");
    for (Index m = 1; m <= k; ++m) {
        work.y[m * LANES] = nan("");
        work.y_power[m * LANES] = 0;
    }
    return nan("");
}

// log p and gradient of `batch` parameter points.
//
// plans, means, ..., cotangents: leading axes of the inputs, as in `nptf_pixels`. terms: M + 1. slots: partial sums of
// each point. lanes (plans, groups, LANES), group_region, group_counts (plans, groups), counts (plans, bins, pixels);
// mean (means, bins, pixels), d_mean (batch, bins, pixels); templates (factors, populations, pixels), d_templates (batch,
// populations, pixels); cotangent (cotangents, pixels), log_p (batch, pixels); x (responses, populations, regions,
// terms); spectrum (spectra, regions, bins); partial (batch, slots, populations, regions, terms); partial_spectrum
// (batch, slots, regions, bins); scratch (blocks, 6, terms, LANES); by_share (blocks, bins, LANES). Without `want_gradient` cotangent,
// d_mean, d_templates, both partial sums and by_share are not used. Counts that x does not reach give NaN.
extern "C" __global__ void joint_pixels(
    Index batch, Index plans, Index means, Index factors, Index responses, Index spectra, Index cotangents,
    Index pixels, Index bins, Index populations, Index regions, Index terms, Index groups, Index slots,
    Index want_gradient, const Index *lanes, const Index *group_region, const Index *group_counts,
    const Index *counts, const double *mean, const double *templates, const double *x, const double *spectrum,
    const double *cotangent, double *log_p, double *d_mean, double *d_templates, double *partial,
    double *partial_spectrum, double *scratch, double *by_share)
{
    __shared__ Group own_group;
    const Index lane = threadIdx.x, rows = terms * LANES, size = populations * regions * terms;
    double *own_rows = scratch + (Index)blockIdx.x * 6 * rows, *own_shares = by_share + (Index)blockIdx.x * bins * LANES;
    int *powers = (int *)(own_rows + 4 * rows);
    const Column work = {own_rows + lane, own_rows + rows + lane, powers + lane, powers + rows + lane};
    const Coefficients c = {own_rows + 2 * rows + lane, powers + 2 * rows + lane};
    const Coefficients fewer = {own_rows + 3 * rows + lane, powers + 3 * rows + lane};

    for (Index item = blockIdx.x; item < batch * slots; item += gridDim.x) {
        const Index b = item / slots, own = b * plans / batch;
        const double *means_here = mean + b * means / batch * bins * pixels;
        const double *factors_here = templates + b * factors / batch * populations * pixels;
        const double *spectrum_here = spectrum + b * spectra / batch * regions * bins;
        double *sums = partial + item * size, *share_sums = partial_spectrum + item * regions * bins;
        for (Index at = lane; want_gradient && at < size; at += LANES)
            sums[at] = 0.0;
        for (Index at = lane; want_gradient && at < regions * bins; at += LANES)
            share_sums[at] = 0.0;
        __syncthreads();  // the sums of one bin are another thread's below
        for (Index group = item % slots; group < groups; group += slots) {
            const Index place = own * groups + group, region = group_region[place];
            const Index pixel = lanes[place * LANES + lane], at = b * pixels + pixel;
            const double *own_x = x + b * responses / batch * size + region * terms;
            own_group.pixel[lane] = pixel;
            own_group.photons[lane] = -1;
            if (pixel >= 0) {
                const View view = {populations, regions * terms, pixels, own_x, factors_here + pixel, 0.0};
                const Bins here = {bins, pixels, counts + own * bins * pixels + pixel, means_here + pixel,
                                   spectrum_here + region * bins, d_mean + b * bins * pixels + pixel,
                                   own_shares + lane};
                Index k = 0;
                for (Index e = 0; e < bins; ++e)
                    k += here.counts[e * pixels];
                const bool within = k < terms;
                const Index reach = within ? k : 0;
                const double factor = !want_gradient ? 0.0 : within ? cotangent[b * cotangents / batch * pixels + pixel] : nan("");
                double total = 0.0, found = 0.0;
                if (!within || !valid_bins(here, &total))
                    found = not_a_likelihood(reach, here, want_gradient, work);
                else if (!plain(k, view, here, total, factor, want_gradient, work, c, &found))
                    found = by_powers(k, view, here, factor, want_gradient, work, c, fewer);
                log_p[at] = term(view, 0) - total + found;
                own_group.photons[lane] = within ? k : -1;
                own_group.factor[lane] = factor;
                for (Index i = 0; want_gradient && i < populations; ++i)
                    d_templates[(b * populations + i) * pixels + pixel] =
                        by_template(reach, own_x + i * regions * terms, factor, work);
            }
            __syncthreads();  // the weights of all lanes are there
            const Index reach = min(group_counts[place], terms - 1);
            for (Index i = 0; want_gradient && i < populations; ++i)
                add_by_x(own_group, reach, factors_here + i * pixels, own_rows, powers,
                         sums + (i * regions + region) * terms);
            for (Index e = lane; want_gradient && e < bins; e += LANES) {
                double share = 0.0;
                for (Index other = 0; other < LANES; ++other)
                    share += own_group.pixel[other] >= 0 ? own_shares[e * LANES + other] : 0.0;
                share_sums[region * bins + e] += share;
            }
            __syncthreads();  // nobody reads the weights any more
        }
    }
}

// d_x (batch, size) = sum over slots of partial (batch, slots, size), in the order of the slots.
extern "C" __global__ void joint_sum(Index batch, Index size, Index slots, const double *partial, double *d_x)
{
    const Index first = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    for (Index at = first; at < batch * size; at += (Index)gridDim.x * blockDim.x) {
        const double *of_point = partial + at / size * slots * size + at % size;
        double total = 0.0;
        for (Index slot = 0; slot < slots; ++slot)
            total += of_point[slot * size];
        d_x[at] = total;
    }
}
