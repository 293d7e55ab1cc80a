// The line-of-sight integral of a triaxial bar on a GPU, with its derivatives by the eight parameters; see lines.py.
//
// A block of TEAM threads is one line of sight of one parameter point; its nodes are dealt out among them. Panels move
// with the parameters, so that points have no node in common.
//
// What binds. A node takes 5 logarithms, 7 exponentials (8 for K_0), a root and 12 divisions: 440 operations in float64,
// of 1,100 instructions on sm_90. One after the other they take some 4,600 cycles (0.51 ms on an H200 for a thread that
// has all of the 200 to 240 nodes of a line), while a quarter of a multiprocessor issues those of 32 threads in 1,100. A
// team comes round 6 or 7 times, and lays out the panels in about the time of one more. The chain binds up to some 2,000
// blocks, four on each quarter of 132 multiprocessors (137 pixels at 8 points: 1,096); beyond, the issue of instructions.

typedef long long Index;

constexpr int TEAM = 32, PANELS = 6, KINDS = 9;  // results: the integral, and its derivatives by the parameters
constexpr int ROW = TEAM + 1;  // of the sums of all threads: the KINDS threads that read them meet no bank twice
constexpr int BLOCKS = 16;  // on a multiprocessor at once, as the launcher asks for
static const double MAX_DISTANCE = 60.0, CUT_WIDTHS = 5.2;  // quadrature.py
static const double TINY = 1e-290;

struct Frame {
    double sun, height, cos_pitch, sin_pitch;
};

// The parameters in the order of geometry.PARAMETERS; the angle as its cosine and sine.
struct Bar {
    double cos_a, sin_a, log_x, log_y, log_z, perp, par, begin, width;
};

struct Line {
    double cl, sl, cb, sb;
};

__device__ bool inside_domain(const double *point)
{
    bool finite = true;
    for (int i = 0; i < 8; ++i)
        finite = finite && point[i] - point[i] == 0.0;
    return finite && point[4] > 0.0 && point[5] > 0.0 && point[6] >= 0.0 && point[7] > 0.0;
}

// Where start + slope s is 0; beyond everything if nowhere.
__device__ double zero_of(double start, double slope) { return slope != 0.0 ? -start / slope : MAX_DISTANCE; }

// Ends of the panels (PANELS + 1,) in order; some may be empty.
__device__ void fill_edges(const Bar &bar, const Frame &frame, const Line &line, double *edges)
{
    const double sun = frame.sun, across = sun * line.sl;
    const double closest = line.cl > 0.0 ? fabs(across) : sun;
    const double beyond = fmax(closest - bar.begin, 0.0), reach = CUT_WIDTHS * bar.width;
    const double last = bar.begin + sqrt(beyond * beyond + reach * reach), middle = sun * line.cl;
    const double half = sqrt(fmax(last * last - across * across, 0.0));
    const double chord = sqrt(fmax(bar.begin * bar.begin - across * across, 0.0));
    const double turned = line.cb * (line.sl * bar.sin_a - line.cl * bar.cos_a);
    const double start = fmin(fmax((middle - half) / line.cb, 0.0), MAX_DISTANCE);
    const double stop = fmin(fmax((middle + half) / line.cb, start), MAX_DISTANCE);
    edges[0] = start;
    edges[PANELS] = stop;
    edges[1] = (middle - chord) / line.cb;
    edges[2] = (middle + chord) / line.cb;
    edges[3] = zero_of(
        sun * bar.cos_a * frame.cos_pitch + frame.height * frame.sin_pitch,
        turned * frame.cos_pitch + line.sb * frame.sin_pitch);
    edges[4] = zero_of(-sun * bar.sin_a, line.cb * (line.sl * bar.cos_a + line.cl * bar.sin_a));
    edges[5] = zero_of(
        frame.height * frame.cos_pitch - sun * bar.cos_a * frame.sin_pitch,
        line.sb * frame.cos_pitch - turned * frame.sin_pitch);
    for (int i = 1; i < PANELS; ++i)
        edges[i] = fmin(fmax(edges[i], start), stop);
    for (int pass = 2; pass < PANELS; ++pass)  // exchanges of neighbours: all places are known to the compiler
        for (int i = PANELS - 1; i > 1; --i) {
            const double low = fmin(edges[i - 1], edges[i]);
            edges[i] = fmax(edges[i - 1], edges[i]);
            edges[i - 1] = low;
        }
}

// exp(r) K_0(r) and exp(r) K_1(r): power series up to r = 2, Chebyshev series in 4 / r - 1 beyond.
__device__ void bessel(double r, double log_r, Index degree, const double *far_series, double *k0, double *k1)
{
    if (r <= 2.0) {
        const double square = 0.25 * r * r, log_half = log_r - 0.6931471805599453 + 0.5772156649015329;
        double term = 1.0, harmonic = 0.0, i0 = 0.0, i1 = 0.0, rest0 = 0.0, rest1 = 0.0;
        for (int k = 0; k < 14; ++k) {
            if (k > 0) {
                term *= square / ((double)k * k);
                harmonic += 1.0 / k;
            }
            const double next = term / (k + 1.0);
            i0 += term;
            i1 += next;
            rest0 += harmonic * term;
            rest1 += (harmonic + 0.5 / (k + 1.0)) * next;
        }
        const double scale = exp(r);
        *k0 = scale * (rest0 - log_half * i0);
        *k1 = scale * (1.0 / r + 0.5 * r * (log_half * i1 - rest1));
        return;
    }
    const double t = 4.0 / r - 1.0, root = 1.0 / sqrt(r);
    double a0 = 0.0, b0 = 0.0, a1 = 0.0, b1 = 0.0;
    for (Index k = degree; k > 0; --k) {
        const double next0 = 2.0 * t * a0 - b0 + far_series[k], next1 = 2.0 * t * a1 - b1 + far_series[degree + 1 + k];
        b0 = a0;
        a0 = next0;
        b1 = a1;
        a1 = next1;
    }
    *k0 = root * (t * a0 - b0 + far_series[0]);
    *k1 = root * (t * a1 - b1 + far_series[degree + 1]);
}

// The density at radius r, and d log density / d log r; the profiles in the order of geometry.FALLOFFS.
__device__ double density_at(
    Index falloff, double r, double log_r, Index degree, const double *far_series, double *slope)
{
    if (falloff == 0) {
        const double e = exp(-2.0 * r), tanh_r = (1.0 - e) / (1.0 + e);
        *slope = -2.0 * r * tanh_r;
        return 4.0 * e / ((1.0 + e) * (1.0 + e));
    }
    if (falloff == 1) {
        *slope = -r;
        return exp(-r);
    }
    if (falloff == 2) {
        *slope = -r * r;
        return exp(-0.5 * r * r);
    }
    double k0, k1;
    bessel(r, log_r, degree, far_series, &k0, &k1);
    *slope = -r * k1 / k0;
    return k0 * exp(-r);
}

// Add the density at distance s, and its derivatives, to the nine sums.
__device__ void add_node(
    const Bar &bar, const Frame &frame, const Line &line, double s, double weight, Index falloff, Index degree,
    const double *far_series, double *sums)
{
    const double x = frame.sun - s * line.cb * line.cl, y = s * line.cb * line.sl, z = s * line.sb + frame.height;
    const double in_plane = x * bar.cos_a + y * bar.sin_a, sideways = y * bar.cos_a - x * bar.sin_a;
    const double lifted = in_plane * frame.cos_pitch + z * frame.sin_pitch;
    const double raised = z * frame.cos_pitch - in_plane * frame.sin_pitch;
    const double along = fabs(lifted) > TINY ? lifted : TINY, across = fabs(sideways) > TINY ? sideways : TINY;
    const double above = fabs(raised) > TINY ? raised : TINY;
    const double excess = fmax(sqrt(x * x + y * y) - bar.begin, 0.0) / bar.width;

    const double lx = log(fabs(along)) - bar.log_x, ly = log(fabs(across)) - bar.log_y;
    const double lz = log(fabs(above)) - bar.log_z, power_x = exp(bar.perp * lx);
    const double in_disk = fmax(power_x + exp(bar.perp * ly), TINY), share = power_x / in_disk;
    const double lp = log(in_disk) / bar.perp, power_perp = exp(bar.par * lp);
    const double both = fmax(power_perp + exp(bar.par * lz), TINY), inner = power_perp / both;
    const double lr = log(both) / bar.par;
    double slope;
    const double density = weight * exp(-excess * excess) * density_at(falloff, exp(lr), lr, degree, far_series, &slope);
    const double steep = density * slope;
    const double turn = share * (sideways * frame.cos_pitch / along) - (1.0 - share) * (in_plane / across);

    sums[0] += density;
    sums[1] += steep * (inner * turn - (1.0 - inner) * (sideways * frame.sin_pitch / above));
    sums[2] -= steep * inner * share;
    sums[3] -= steep * inner * (1.0 - share);
    sums[4] -= steep * (1.0 - inner);
    sums[5] += steep * inner * (share * lx + (1.0 - share) * ly - lp) / bar.perp;
    sums[6] += steep * (inner * lp + (1.0 - inner) * lz - lr) / bar.par;
    sums[7] += density * excess;
    sums[8] += density * excess * excess;
}

// The panels of a line of sight that are not empty.
struct Panels {
    int count;
    double low[PANELS], length[PANELS];
};

__device__ void fill_panels(const Bar &bar, const Frame &frame, const Line &line, Panels *panels)
{
    double edges[PANELS + 1];
    fill_edges(bar, frame, line, edges);
    int count = 0;
    for (int panel = 0; panel < PANELS; ++panel) {
        const double length = edges[panel + 1] - edges[panel];
        if (length > 0.0) {
            panels->low[count] = edges[panel];
            panels->length[count] = length;
            ++count;
        }
    }
    panels->count = count;
}

// The integral and its derivatives by the parameters in every pixel; NaN outside their domain.
//
// Thread 0 lays out the panels, all threads take every TEAM-th of their nodes, and thread `kind` adds up the sums of all
// for result `kind`: in one order, whatever the grid. No register is spilled: the stack is that of cos and sin, for angles
// beyond 1e5.
//
// directions (blocks, 4, lanes): cos l, sin l, cos b, sin b; step (2, nodes); frame (4,); far_series (2, degree + 1);
// order (pixels,), starts (lines + 1,); points (batch, 8); value (batch, pixels), derivatives (batch, 8, pixels).
extern "C" __global__ void __launch_bounds__(TEAM, BLOCKS) bar_pixels(
    Index batch, Index lanes, Index lines, Index pixels, Index nodes, Index falloff, Index degree,
    const double *directions, const double *step, const double *frame, const double *far_series, const Index *order,
    const Index *starts, const double *points, double *value, double *derivatives)
{
    __shared__ Panels panels;
    __shared__ double partial[KINDS * ROW];
    const int thread = threadIdx.x;
    const Frame where = {frame[0], frame[1], frame[2], frame[3]};
    for (Index at = blockIdx.x; at < batch * lines; at += gridDim.x) {
        const Index b = at / lines, number = at % lines;
        const double *point = points + 8 * b, *own = directions + number / lanes * 4 * lanes + number % lanes;
        const bool inside = inside_domain(point);
        const Bar bar = {cos(point[0]), sin(point[0]), point[1], point[2], point[3], point[4], point[5], point[6], point[7]};
        const Line line = {own[0], own[lanes], own[2 * lanes], own[3 * lanes]};
        if (thread == 0 && inside)
            fill_panels(bar, where, line, &panels);
        __syncthreads();  // the panels are there, and nobody reads the sums of the line before any more
        double sums[KINDS] = {};
        const int last = inside ? panels.count * (int)nodes : 0;
#pragma unroll 1
        for (int place = thread; place < last; place += TEAM) {
            const int panel = place / (int)nodes, node = place % (int)nodes;
            const double low = panels.low[panel], length = panels.length[panel];
            add_node(
                bar, where, line, low + length * step[node], length * step[nodes + node], falloff, degree, far_series,
                sums);
        }
        for (int kind = 0; kind < KINDS; ++kind)
            partial[kind * ROW + thread] = sums[kind];
        __syncthreads();  // the sums of all threads are there, and nobody reads the panels any more
        if (thread < KINDS) {
            double total = inside ? 0.0 : nan("");
            for (int other = 0; other < TEAM; ++other)
                total += partial[thread * ROW + other];
            if (thread >= 7)
                total *= 2.0 / point[7];
            double *result = thread == 0 ? value + b * pixels : derivatives + (8 * b + thread - 1) * pixels;
            for (Index place = starts[number]; place < starts[number + 1]; ++place)
                result[order[place]] = total;
        }
    }
}
