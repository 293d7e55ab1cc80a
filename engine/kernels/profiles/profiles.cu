// The two line-of-sight integrals on a GPU, with their derivatives by the parameters from the same pass; see cpu.py.
//
// A block of threads works on some lines of sight: of the NFW profile at one parameter point, of the disk at up to POINTS
// of them. Neighbouring threads read neighbouring entries of the nodes; sums are taken in one order, whatever the grid.

typedef long long Index;

constexpr int TEAM = 64, POINTS = 4;  // threads that share a block of lines of sight of the disk, and points

__device__ bool finite_number(double value) { return value - value == 0.0; }

// Give every pixel of the lines first .. last - 1 what its line has in `values` (rows, width), which all threads see.
//
// order (pixels,) and starts (lines + 1,): pixels of a line are order[starts[line]] .. order[starts[line + 1] - 1];
// inverse (pixels,): the line of a pixel; result (rows, pixels).
__device__ void give(
    Index first, Index last, Index rows, Index width, const double *values, const Index *order, const Index *starts,
    const Index *inverse, Index pixels, double *result)
{
    const Index end = starts[last];
    for (Index at = starts[first] + threadIdx.x; at < end; at += blockDim.x) {
        const Index pixel = order[at], line = inverse[pixel] - first;
        for (Index row = 0; row < rows; ++row)
            result[row * pixels + pixel] = values[row * width + line];
    }
}

// log J and d log J / d gamma at the Chebyshev angles, J = sum_q weight exp(-2 gamma log_shape).
//
// A block of LANES threads is one angle of one point: a thread takes every LANES-th node, thread 0 adds up their sums.
// gamma (batch,); log_shape, weight (nodes, angles); at_nodes (batch, 2, angles).
extern "C" __global__ void nfw_nodes(
    Index batch, Index angles, Index nodes, const double *gamma, const double *log_shape, const double *weight,
    double *at_nodes)
{
    __shared__ double densities[LANES], moments[LANES];
    const Index lane = threadIdx.x;
    for (Index at = blockIdx.x; at < batch * angles; at += gridDim.x) {
        const Index b = at / angles, angle = at % angles;
        const double slope = gamma[b];
        double total = 0.0, moment = 0.0;
        for (Index node = lane; node < nodes; node += LANES) {
            const double s = log_shape[node * angles + angle];
            const double density = weight[node * angles + angle] * exp(-2.0 * slope * s);
            total += density;
            moment += s * density;
        }
        densities[lane] = total;
        moments[lane] = moment;
        __syncthreads();  // the sums of all threads are there
        if (lane == 0) {
            total = finite_number(slope) ? 0.0 : nan("");
            moment = 0.0;
            for (Index other = 0; other < LANES; ++other) {
                total += densities[other];
                moment += moments[other];
            }
            at_nodes[(2 * b) * angles + angle] = log(total);
            at_nodes[(2 * b + 1) * angles + angle] = -2.0 * moment / total;
        }
        __syncthreads();  // nobody reads them any more
    }
}

// J and dJ/dgamma in every pixel, by interpolation of log J between the Chebyshev angles.
//
// A block of LANES threads is as many lines of one point.
// cardinal (angles, lines); at_nodes (batch, 2, angles); order, starts, inverse: as `give` takes them;
// result (batch, 2, pixels).
extern "C" __global__ void nfw_pixels(
    Index batch, Index angles, Index lines, Index pixels, const double *cardinal, const Index *order,
    const Index *starts, const Index *inverse, const double *at_nodes, double *result)
{
    __shared__ double values[2 * LANES];
    const Index lane = threadIdx.x, groups = (lines + LANES - 1) / LANES;
    for (Index at = blockIdx.x; at < batch * groups; at += gridDim.x) {
        const Index b = at / groups, first = at % groups * LANES;
        const Index last = first + LANES < lines ? first + LANES : lines;
        if (first + lane < last) {
            const double *log_j = at_nodes + 2 * b * angles, *slopes = log_j + angles;
            double log_value = 0.0, slope = 0.0;
            for (Index angle = 0; angle < angles; ++angle) {
                const double share = cardinal[angle * lines + first + lane];
                log_value += log_j[angle] * share;
                slope += slopes[angle] * share;
            }
            values[lane] = exp(log_value);
            values[LANES + lane] = slope * values[lane];
        }
        __syncthreads();  // the values of all lines are there
        give(first, last, 2, LANES, values, order, starts, inverse, pixels, result + 2 * b * pixels);
        __syncthreads();  // nobody reads them any more
    }
}

// The disk's integral and its derivatives by scale height, C and B; NaN outside their domain.
//
// Nodes lie in blocks of `lanes` lines: rows block_starts[i] .. block_starts[i + 1] - 1 of excess, log_radius, height,
// weight (rows, lanes). A block of TEAM threads is one of these at POINTS points, for which a node is read once: of every
// line TEAM / lanes threads each take every so many-th row, and then the sums of all threads are added up.
// parameters (batch, 3): scale height, C and B; order, starts, inverse: as `give` takes them; result (batch, 4, pixels).
extern "C" __global__ void disk_pixels(
    Index batch, Index lanes, Index lines, Index pixels, const Index *block_starts, const double *excess,
    const double *log_radius, const double *height, const double *weight, const Index *order, const Index *starts,
    const Index *inverse, const double *parameters, double *result)
{
    __shared__ double sums[4 * POINTS * TEAM], values[POINTS * TEAM];
    const Index thread = threadIdx.x, parts = TEAM / lanes, lane = thread % lanes, part = thread / lanes;
    const Index blocks = (lines + lanes - 1) / lanes, tiles = (batch + POINTS - 1) / POINTS;
    for (Index at = blockIdx.x; at < tiles * blocks; at += gridDim.x) {
        const Index b = at / blocks * POINTS, block = at % blocks, first = block * lanes;
        const Index points = b + POINTS < batch ? POINTS : batch - b;
        const double *own = parameters + 3 * b;
        double inverse_height[POINTS], shape[POINTS], power[POINTS], moments[POINTS][4] = {};
        for (int point = 0; point < POINTS; ++point) {
            const Index given = point < points ? 3 * point : 0;
            inverse_height[point] = 1.0 / own[given];
            shape[point] = own[given + 1];
            power[point] = own[given + 2];
        }
        for (Index row = block_starts[block] + part; row < block_starts[block + 1]; row += parts) {
            const Index node = row * lanes + lane;
            const double e = excess[node], log_r = log_radius[node], z = height[node], ds = weight[node];
            for (int point = 0; point < POINTS; ++point) {
                if (point < points) {
                    const double density = ds * exp(power[point] * log_r - shape[point] * e - z * inverse_height[point]);
                    moments[point][0] += density;
                    moments[point][1] += density * z;
                    moments[point][2] -= density * e;
                    moments[point][3] += density * log_r;
                }
            }
        }
        for (int point = 0; point < POINTS; ++point)
            for (int kind = 0; kind < 4; ++kind)
                sums[(4 * point + kind) * TEAM + thread] = moments[point][kind];
        __syncthreads();  // the sums of all threads are there
        for (Index at_line = thread; at_line < 4 * points * lanes; at_line += TEAM) {
            const Index row = at_line / lanes;  // 4 results of each point
            const double zs = own[row / 4 * 3], C = own[row / 4 * 3 + 1], B = own[row / 4 * 3 + 2];
            double value = zs > 0.0 && finite_number(zs) && finite_number(C) && finite_number(B) ? 0.0 : nan("");
            for (Index other = 0; other < parts; ++other)
                value += sums[row * TEAM + other * lanes + at_line % lanes];
            values[at_line] = row % 4 == 1 ? value / (zs * zs) : value;
        }
        __syncthreads();  // the values of all lines are there, and nobody reads the sums any more
        give(first, first + lanes < lines ? first + lanes : lines, 4 * points, lanes, values, order, starts, inverse,
             pixels, result + 4 * b * pixels);
    }
}
