// NPTF pixel likelihood on a GPU, for counts of any size and numbers of any range: log p of every pixel's count and its
// whole gradient in one pass. Nearly all groups of usual data go to teams.cu, which is faster.
//
// It follows recursion.cu, whose text comes before this one. d/dX sums over pixels: each group has a row of `partial`,
// whose sums are taken in a fixed order: no atomics, always the same bits.

// log q_k of a pixel with k >= 1, and in y, y_power the weights q_{k-m} / q_k for m = 1 .. k.
__device__ double log_q_and_weights(Index k, const View &view, Column work)
{
    double *q = work.q;
    if (recursion(k, view, SAFE_LOW, work)) {
        const double inverse = 1.0 / q[k * LANES];
        for (Index m = 1; m <= k; ++m) {
            work.y[m * LANES] = q[(k - m) * LANES] * inverse;
            work.y_power[m * LANES] = 0;
        }
        return log(q[k * LANES]);
    }
    const bool valid = scaled_recursion(k, view, work);
    const double last = valid ? q[k * LANES] : nan("");
    const int last_power = valid ? work.q_power[k * LANES] : 0;
    for (Index m = 1; m <= k; ++m) {
        work.y[m * LANES] = last > 0.0 ? q[(k - m) * LANES] / last : nan("");
        work.y_power[m * LANES] = last > 0.0 ? work.q_power[(k - m) * LANES] - last_power : 0;
    }
    return log(last) + (last > 0.0 ? last_power * 0.6931471805599453 : 0.0);  // -inf for an impossible count
}

// log p of one pixel, or NaN where x_1 < 0, which no distribution of counts has; its weights are in `work`.
__device__ double pixel_value(Index k, const View &view, Column work)
{
    const double no_photon = term(view, 1) >= 0.0 ? term(view, 0) : nan("");
    return k > 0 ? no_photon + log_q_and_weights(k, view, work) : no_photon;
}

// log p and gradient of `batch` parameter points in the groups that are `left` (batch, groups) to this kernel.
//
// plans, means, ..., cotangents: leading axes of the inputs, batch where each point has its own, 1 where all share one, or
// what divides batch where neighbours do. terms: M + 1.
// lanes (plans, groups, LANES), group_region, group_counts (plans, groups), counts (plans, pixels);
// mean (means, pixels), cotangent (cotangents, pixels), log_p, d_mean (batch, pixels); templates (factors, populations,
// pixels), d_templates (batch, populations, pixels); x (responses, populations, regions, terms);
// partial (batch, groups, populations, terms): d/dX of each group, up to its largest count; scratch (blocks, 3, terms,
// LANES). Without `want_gradient` cotangent, d_mean, d_templates and partial are not used. A count that x does not reach
// gives NaN.
extern "C" __global__ void nptf_pixels(
    Index batch, Index plans, Index means, Index factors, Index responses, Index cotangents, Index pixels,
    Index populations, Index regions, Index terms, Index groups, Index want_gradient, const Index *lanes,
    const Index *group_region, const Index *group_counts, const Index *counts, const double *mean,
    const double *templates, const double *x, const double *cotangent, double *log_p, double *d_mean,
    double *d_templates, double *partial, const int *left, double *scratch)
{
    __shared__ Group own_group;
    const Index lane = threadIdx.x, rows = terms * LANES;
    double *own_rows = scratch + (Index)blockIdx.x * 3 * rows;
    int *powers = (int *)(own_rows + 2 * rows);
    const Column work = {own_rows + lane, own_rows + rows + lane, powers + lane, powers + rows + lane};

    for (Index item = blockIdx.x; item < batch * groups; item += gridDim.x) {
        if (left[item] == 0)
            continue;
        const Index b = item / groups, own = b * plans / batch;
        const double *factors_here = templates + b * factors / batch * populations * pixels;
        const Index place = own * groups + item % groups, region = group_region[place];
        const Index pixel = lanes[place * LANES + lane], at = b * pixels + pixel;
        const Index k = pixel >= 0 ? counts[own * pixels + pixel] : -1;
        const bool within = pixel >= 0 && k < terms;
        const double *own_x = x + (b * responses / batch * populations * regions + region) * terms;
        own_group.pixel[lane] = pixel;
        own_group.photons[lane] = within ? k : -1;
        if (pixel >= 0) {
            const View view = {populations, regions * terms, pixels, own_x, factors_here + pixel,
                               mean[b * means / batch * pixels + pixel]};
            log_p[at] = within ? pixel_value(k, view, work) : nan("");
        }
        if (pixel >= 0 && want_gradient) {
            const double factor = within ? cotangent[b * cotangents / batch * pixels + pixel] : nan("");
            const Index reach = within ? k : 0;
            own_group.factor[lane] = factor;
            d_mean[at] = (reach > 0 ? product(factor, work.y[LANES], work.y_power[LANES]) : 0.0) - factor;
            for (Index i = 0; i < populations; ++i)
                d_templates[(b * populations + i) * pixels + pixel] =
                    by_template(reach, own_x + i * regions * terms, factor, work);
        }
        const Index reach = min(group_counts[place], terms - 1);
        double *sums = partial + item * populations * terms;
        for (Index i = 0; want_gradient && i < populations; ++i)
            for (Index m = lane; m <= reach; m += LANES)
                sums[i * terms + m] = 0.0;
        __syncthreads();  // the weights of all lanes are there
        for (Index i = 0; want_gradient && i < populations; ++i)
            add_by_x(own_group, reach, factors_here + i * pixels, own_rows, powers, sums + i * terms);
        __syncthreads();  // nobody reads the weights any more
    }
}

