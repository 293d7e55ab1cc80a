// The recursion of one pixel on a GPU, which nptf.cu and nptf_energy.cu have in common.
//
// With x_m = sum_i T_i X_{i,m} + mean [m = 1], x_0 = -mean + sum_i T_i X_{i,0}, q_n = (1/n) sum_{m=1..n} m x_m q_{n-m},
// log p_k = x_0 + log q_k and d log p_k / d x_m = q_{k-m} / q_k, as in cpu.py, whose edge cases hold here too.
//
// A thread is one pixel, a block one warp: the plan's groups are `LANES` pixels of one region with nearly equal counts, so
// its threads run recursions of like length side by side and read the same X. Row m of a block's scratch holds its `LANES`
// pixels next to each other, so that every access is one contiguous line.
//
// Built with -DSAFE_LOW, -DSAFE_HIGH (policy.py) and -DLANES (plan.py).

typedef long long Index;

#define ZERO_POWER (-1000000000)  // power of 2 that stands for zero; twice it still fits an int
#define LAST_SHIFT 255            // a term below 2^-255 of the largest one adds nothing
#define BLOCK 16                  // q_n that share a power of 2, in the ranges of scaled.py
#define NARROW 2.037035976334486e90  // 2^300
#define LARGEST_Y 1.6069380442589903e60  // 2^200

// One pixel's column of the scratch rows, entry m at m * LANES. In turn: y_m = m x_m, then the weights q_{k-m} / q_k.
struct Column {
    double *y, *q;
    int *y_power, *q_power;  // 2^power is a factor of the entry, where numbers leave the safe range
};

// One parameter point as one pixel sees it: row i of x at i * x_step, template i at i * template_step.
struct View {
    Index populations, x_step, template_step;
    const double *x, *templates;
    double mean;
};

__device__ bool between(double value, double low, double high) { return value >= low && value <= high; }  // not NaN

// x_m of the pixel.
__device__ double term(const View &view, Index m)
{
    double total = m == 1 ? view.mean : m == 0 ? -view.mean : 0.0;
    for (Index i = 0; i < view.populations; ++i)
        total += view.templates[i * view.template_step] * view.x[i * view.x_step + m];
    return total;
}

// Fill y and q up to k in plain floating point; whether all stayed in the safe range, q_n at least `low`. Four q_n at a
// time share the loads of y and q, and run as four independent sums.
__device__ bool recursion(Index k, const View &view, double low, Column work)
{
    double *y = work.y, *q = work.q;
    bool safe = true;
    for (Index m = 1; m <= k; ++m) {
        y[m * LANES] = m * term(view, m);
        safe = safe && between(y[m * LANES], 0.0, SAFE_HIGH);
    }
    q[0] = 1.0;
    Index n = 1;
    for (; n + 3 <= k; n += 4) {
        double s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0;
        double y1 = y[(n + 1) * LANES], y2 = y[(n + 2) * LANES], y3 = y[(n + 3) * LANES];
#pragma unroll 4
        for (Index j = 0; j < n; ++j) {
            const double y0 = y[(n - j) * LANES], factor = q[j * LANES];
            s0 += y0 * factor;
            s1 += y1 * factor;
            s2 += y2 * factor;
            s3 += y3 * factor;
            y3 = y2;
            y2 = y1;
            y1 = y0;
        }
        const double q0 = s0 / n, q1 = (s1 + y1 * q0) / (n + 1);  // y1, y2, y3 are now those of m = 1, 2, 3
        const double q2 = (s2 + y2 * q0 + y1 * q1) / (n + 2);
        const double q3 = (s3 + y3 * q0 + y2 * q1 + y1 * q2) / (n + 3);
        q[n * LANES] = q0;
        q[(n + 1) * LANES] = q1;
        q[(n + 2) * LANES] = q2;
        q[(n + 3) * LANES] = q3;
        safe = safe && between(q0, low, SAFE_HIGH) && between(q1, low, SAFE_HIGH);
        safe = safe && between(q2, low, SAFE_HIGH) && between(q3, low, SAFE_HIGH);
    }
    for (; n <= k; ++n) {
        double total = 0.0;
        for (Index j = 0; j < n; ++j)
            total += y[(n - j) * LANES] * q[j * LANES];
        q[n * LANES] = total / n;
        safe = safe && between(q[n * LANES], low, SAFE_HIGH);
    }
    return safe;
}

// value * 2^power as a mantissa in [0.5, 1) and a power of 2.
__device__ double scaled(double value, int power, int *result)
{
    int shift = 0;
    const double mantissa = frexp(value, &shift);
    *result = mantissa != 0.0 ? power + shift : ZERO_POWER;
    return mantissa;
}

// A number that carries a power of 2.
struct Number {
    double value;
    int power;
};

__device__ Number number(double value, int power)
{
    Number result = {0.0, 0};
    result.value = scaled(value, power, &result.power);
    return result;
}

__device__ Number times(Number a, Number b) { return number(a.value * b.value, max(a.power + b.power, ZERO_POWER)); }

__device__ Number plus(Number a, Number b)
{
    const Number large = a.power > b.power ? a : b, small = a.power > b.power ? b : a;
    const int shift = large.power - small.power;
    return shift > LAST_SHIFT ? large : number(large.value + ldexp(small.value, -shift), large.power);
}

// m x_m of the pixel; neither it nor one of its products T_i X_{i,m} needs to be in the range of float64.
__device__ Number weighted_term(const View &view, Index m)
{
    Number total = number(m == 1 ? view.mean : 0.0, 0);
    for (Index i = 0; i < view.populations; ++i)
        total = plus(total, times(number(view.templates[i * view.template_step], 0),
                                  number(view.x[i * view.x_step + m], 0)));
    return times(total, number((double)m, 0));
}

// The recursion of one pixel, each block of whose q_n shares a power of 2; false where they are too far apart. The power
// of block b is q_power[b] until all q_n are there.
__device__ bool recursion_by_blocks(Index k, const View &view, Column work)
{
    double *y = work.y, *q = work.q;
    int *power = work.q_power;
    for (Index m = 1; m <= k; ++m) {
        y[m * LANES] = m * term(view, m);
        if (!between(y[m * LANES], 0.0, LARGEST_Y))
            return false;
    }
    q[0] = 1.0;
    power[0] = 0;
    for (Index n = 1; n <= k; ++n) {
        const Index block = n / BLOCK, first = block * BLOCK;
        const int here = power[(n > first ? block : block - 1) * LANES];
        double total = 0.0;
        for (Index other = 0; other < block; ++other) {
            double of_block = 0.0;
            for (Index i = other * BLOCK; i < (other + 1) * BLOCK; ++i)
                of_block += q[i * LANES] * y[(n - i) * LANES];
            total += ldexp(of_block, power[other * LANES] - here);
        }
        for (Index i = first; i < n; ++i)
            total += q[i * LANES] * y[(n - i) * LANES];
        total /= n;
        if (n == first) {  // the first of a block chooses its power
            int shift = 0;
            if (!between(total, 4.9406564584124654e-324, 1.7976931348623157e308))
                return false;
            total = frexp(total, &shift);
            power[block * LANES] = here + shift;
            for (Index other = 0; other < block; ++other)
                if (power[other * LANES] - here - shift > 300)
                    return false;
        }
        if (!between(total, 1.0 / NARROW, NARROW))
            return false;
        q[n * LANES] = total;
    }
    for (Index n = k; n >= 0; --n)
        q[n * LANES] = scaled(q[n * LANES], power[n / BLOCK * LANES], &work.q_power[n * LANES]);
    return true;
}

// The recursion of one pixel whose numbers each carry their own power of 2; false where a y is negative, infinite, NaN.
__device__ bool scaled_recursion(Index k, const View &view, Column work)
{
    if (recursion_by_blocks(k, view, work))
        return true;
    for (Index m = 1; m <= k; ++m) {
        const Number y = weighted_term(view, m);
        if (!(y.value >= 0.0 && between(m * term(view, m), 0.0, 1.7976931348623157e308)))
            return false;
        work.y[m * LANES] = y.value;
        work.y_power[m * LANES] = y.power;
    }
    work.q[0] = 0.5;
    work.q_power[0] = 1;
    for (Index n = 1; n <= k; ++n) {
        int top = 2 * ZERO_POWER;
        for (Index m = 1; m <= n; ++m)
            top = max(top, work.y_power[m * LANES] + work.q_power[(n - m) * LANES]);
        double total = 0.0;
        for (Index m = 1; m <= n && top > ZERO_POWER; ++m) {
            const int shift = top - work.y_power[m * LANES] - work.q_power[(n - m) * LANES];
            if (shift <= LAST_SHIFT)
                total += ldexp(work.y[m * LANES] * work.q[(n - m) * LANES], -shift);
        }
        work.q[n * LANES] = scaled(total / n, top, &work.q_power[n * LANES]);
    }
    return true;
}

// a * weight * 2^power, where neither a nor 2^power alone needs to be in range.
__device__ double product(double a, double weight, int power)
{
    if (power == 0)
        return a * weight;
    int shift = 0;
    const double mantissa = frexp(a, &shift);
    return ldexp(mantissa * weight, shift + power);
}

// cotangent * d log p / d T_i of one pixel from its weights.
__device__ double by_template(Index k, const double *x, double cotangent, Column work)
{
    double total = x[0];
    for (Index m = 1; m <= k; ++m)
        total += product(x[m], work.y[m * LANES], work.y_power[m * LANES]);
    return cotangent * total;
}

// What the threads of a block tell each other of the pixels of a group: counts, -1 for none, and cotangents.
struct Group {
    Index pixel[LANES], photons[LANES];
    double factor[LANES];
};

// Add d/dX_m of one population in the region of a group, m = 0 .. reach, to `sums`, from the weights of all lanes.
//
// Rows lie pixel by pixel, sums are over pixels: a tile of LANES rows turns them, so that memory is read in whole lines.
__device__ void add_by_x(
    const Group &group, Index reach, const double *templates, const double *rows, const int *powers, double *sums)
{
    __shared__ double tile[LANES][LANES + 1];
    const Index lane = threadIdx.x, photons = group.photons[lane];
    const double scale = photons >= 0 ? group.factor[lane] * templates[group.pixel[lane]] : 0.0;
    for (Index first = 0; first <= reach; first += LANES) {
        for (Index m = first; m < first + LANES && m <= reach; ++m) {
            const Index entry = m * LANES + lane;
            tile[m - first][lane] = m > photons ? 0.0 : m == 0 ? scale : product(scale, rows[entry], powers[entry]);
        }
        __syncthreads();  // the tile is there
        if (first + lane <= reach) {
            double total = 0.0;
            for (Index other = 0; other < LANES; ++other)
                total += tile[lane][other];
            sums[first + lane] += total;
        }
        __syncthreads();  // nobody reads it any more
    }
}

