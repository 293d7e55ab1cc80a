// The two line-of-sight integrals on a GPU, with their derivatives by the parameters from the same pass; see cpu.py.
//
// But for `nfw_nodes` a thread is one line of sight of one parameter point. Neighbouring threads read neighbouring entries
// of the nodes.

typedef long long Index;

__device__ bool finite_number(double value) { return value - value == 0.0; }

// Give every pixel that shares the integral `line` its value: order[starts[line]] .. order[starts[line + 1] - 1].
__device__ void give(Index line, const Index *order, const Index *starts, double value, double *pixels)
{
    for (Index at = starts[line]; at < starts[line + 1]; ++at)
        pixels[order[at]] = value;
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
// cardinal (angles, lines); at_nodes (batch, 2, angles); order (pixels,), starts (lines + 1,);
// value, d_gamma (batch, pixels).
extern "C" __global__ void nfw_pixels(
    Index batch, Index angles, Index lines, Index pixels, const double *cardinal, const Index *order,
    const Index *starts, const double *at_nodes, double *value, double *d_gamma)
{
    const Index first = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    for (Index at = first; at < batch * lines; at += (Index)gridDim.x * blockDim.x) {
        const Index b = at / lines, line = at % lines;
        const double *log_j = at_nodes + 2 * b * angles, *slopes = log_j + angles;
        double log_value = 0.0, slope = 0.0;
        for (Index angle = 0; angle < angles; ++angle) {
            log_value += log_j[angle] * cardinal[angle * lines + line];
            slope += slopes[angle] * cardinal[angle * lines + line];
        }
        const double integral = exp(log_value);
        give(line, order, starts, integral, value + b * pixels);
        give(line, order, starts, slope * integral, d_gamma + b * pixels);
    }
}

// The disk's integral and its derivatives by scale height, C and B; NaN outside their domain.
//
// Nodes lie in blocks of `lanes` lines: rows block_starts[i] .. block_starts[i + 1] - 1 of excess, log_radius, height,
// weight (rows, lanes). scale_height, C, B (batch,); order (pixels,), starts (lines + 1,); results (batch, pixels).
extern "C" __global__ void disk_pixels(
    Index batch, Index lanes, Index lines, Index pixels, const Index *block_starts, const double *excess,
    const double *log_radius, const double *height, const double *weight, const Index *order, const Index *starts,
    const double *scale_height, const double *C, const double *B, double *value, double *d_height, double *d_C,
    double *d_B)
{
    const Index first = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    for (Index at = first; at < batch * lines; at += (Index)gridDim.x * blockDim.x) {
        const Index b = at / lines, line = at % lines, lane = line % lanes;
        const double zs = scale_height[b], shape = C[b], power = B[b], inverse = 1.0 / zs;
        const bool inside = zs > 0.0 && finite_number(zs) && finite_number(shape) && finite_number(power);
        double total = inside ? 0.0 : nan(""), by_height = total, by_shape = total, by_power = total;
        const Index end = inside ? block_starts[line / lanes + 1] : 0;
        for (Index row = block_starts[line / lanes]; row < end; ++row) {
            const Index node = row * lanes + lane;
            const double e = excess[node], log_r = log_radius[node], z = height[node];
            const double density = weight[node] * exp(power * log_r - shape * e - z * inverse);
            total += density;
            by_height += density * z;
            by_shape -= density * e;
            by_power += density * log_r;
        }
        give(line, order, starts, total, value + b * pixels);
        give(line, order, starts, by_height * inverse * inverse, d_height + b * pixels);
        give(line, order, starts, by_shape, d_C + b * pixels);
        give(line, order, starts, by_power, d_B + b * pixels);
    }
}
