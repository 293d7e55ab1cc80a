// Simulated skies on a GPU, photon by photon: the arithmetic of philox.py, variates.py, sphere.py and cpu.py.
//
// Every random number has its own address, so a sky does not depend on which thread draws what; counts are whole
// numbers, so neither does it depend on the order in which photons arrive.

typedef long long Index;
typedef unsigned long long Word;

#define PI 3.141592653589793
#define POLAR_CAP (2.0 / 3.0)  // |z| above which rings have fewer than 4 nside pixels

// Where a draw is addressed: its kind and population, its sky, and the seed.
struct Address {
    Word stream, sky, seed;
};

struct Pair {
    double u, v;
};

// Cosine and sine of the colatitude, and longitude [rad].
struct Direction {
    double z, sine, phi;
};

// Two uniform numbers at the counter (block, index, stream, sky): Philox4x32-10, odd multiples of 2^-53.
__device__ Pair uniforms(Index block, Index index, Address at)
{
    const Word mask = 0xFFFFFFFFull;
    Word a = block, b = index, c = at.stream, d = at.sky, low = at.seed & mask, high = at.seed >> 32;
    for (int round = 0; round < 10; ++round) {
        const Word first = 0xD2511F53ull * a, second = 0xCD9E8D57ull * c;
        a = (second >> 32) ^ b ^ low;
        b = second & mask;
        c = (first >> 32) ^ d ^ high;
        d = first & mask;
        low = (low + 0x9E3779B9ull) & mask;
        high = (high + 0xBB67AE85ull) & mask;
    }
    const double unit = 1.0 / 4503599627370496.0;  // 2^-52
    return {((double)(((a << 32) | b) >> 12) + 0.5) * unit, ((double)(((c << 32) | d) >> 12) + 0.5) * unit};
}

// The smallest k whose cumulative probability reaches u.
__device__ Index by_inversion(double mean, double u)
{
    Index k = 0;
    double probability = exp(-mean);
    while (u > probability) {
        u -= probability;
        k += 1;
        probability *= mean / k;
        if (probability < 1e-17 && k > mean)  // 53 bits of u cannot see it
            break;
    }
    return k;
}

// log(mean^k exp(-mean) / k!), without differences of large numbers where k is near a large mean.
__device__ double log_probability(double k, double mean)
{
    if (k < 10.0)
        return k * log(mean) - mean - lgamma(k + 1.0);
    const double d = (mean - k) / k, square = 1.0 / (k * k);
    const double series = (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0))) / k;
    return k * (log1p(d) - d) - 0.9189385332046727 - 0.5 * log(k) - series;
}

// Transformed rejection with squeeze, PTRS of Hoermann 1993; mean >= 10.
__device__ Index by_rejection(double mean, Index index, Address at)
{
    const double b = 0.931 + 2.53 * sqrt(mean), a = -0.059 + 0.02483 * b;
    const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), squeeze = 0.9277 - 3.6224 / (b - 2.0);
    for (Index block = 0;; ++block) {
        const Pair pair = uniforms(block, index, at);
        const double u = pair.u - 0.5, v = pair.v, edge = 0.5 - fabs(u);
        const double k = floor((2.0 * a / edge + b) * u + mean + 0.43);
        if (edge >= 0.07 && v <= squeeze)
            return (Index)k;
        if (k < 0.0 || (edge < 0.013 && v > edge))
            continue;
        if (log(v * inverse_alpha / (a / (edge * edge) + b)) <= log_probability(k, mean))
            return (Index)k;
    }
}

// A Poisson number; 0 where the mean is not positive.
__device__ Index poisson(double mean, Index index, Address at)
{
    if (!(mean > 0.0))
        return 0;
    return mean < 10.0 ? by_inversion(mean, uniforms(0, index, at).u) : by_rejection(mean, index, at);
}

// The entry that holds the fraction u of the total of a running sum.
__device__ Index entry(const double *running, Index size, double u)
{
    const double target = u * running[size - 1];
    Index low = 0, high = size - 1;
    while (low < high) {
        const Index middle = (low + high) >> 1;
        if (running[middle] > target)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

// The direction at the face coordinates x, y in [0, 1].
__device__ Direction on_face(Index face, double x, double y)
{
    const Index row = face / 4, turns = 2 * (face % 4) + (row == 1 ? 0 : 1);
    const double down = row + 2 - x - y;
    const double width = min(min(down, 4.0 - down), 1.0);
    double z = (2.0 - down) * POLAR_CAP, sine = sqrt((1.0 - z) * (1.0 + z));
    if (width < 1.0) {
        const double depth = width * width / 3.0;
        z = down < 1.0 ? 1.0 - depth : depth - 1.0;
        sine = sqrt(depth * (2.0 - depth));
    }
    const double across = width > 0.0 ? (x - y) / width : 0.0;
    return {z, sine, 0.25 * PI * (turns + across)};
}

// The direction at `radius` [rad] from another one, `angle` [rad] east of north of it.
__device__ Direction displaced(Direction from, double radius, double angle)
{
    const double along = sin(radius) * cos(angle), aside = sin(radius) * sin(angle), ahead = cos(radius);
    const double out = ahead * from.sine - along * from.z;
    return {ahead * from.z + along * from.sine, sqrt(out * out + aside * aside), from.phi + atan2(aside, out)};
}

// The HEALPix pixel (RING) of a direction.
__device__ Index ring_pixel(Index nside, Direction at)
{
    double quarters = at.phi * (2.0 / PI);
    quarters -= 4.0 * floor(0.25 * quarters);
    if (quarters >= 4.0)  // what rounding makes of a tiny negative longitude
        quarters = 0.0;
    const double height = fabs(at.z);
    if (height <= POLAR_CAP) {
        const double east = nside * (0.5 + quarters), north = 0.75 * nside * at.z;
        const Index rising = (Index)floor(east - north), falling = (Index)floor(east + north), length = 4 * nside;
        const Index ring = min(max(nside + rising - falling, (Index)0), 2 * nside);
        const Index number = ((rising + falling - nside + 1 + (ring & 1)) >> 1) % length;
        return 2 * nside * (nside - 1) + length * ring + (number < 0 ? number + length : number);
    }
    const double distance = nside * min(at.sine * sqrt(3.0 / (1.0 + height)), 1.0);
    const double inside = quarters - (double)min((Index)quarters, (Index)3);
    const Index ring = min((Index)(distance * inside) + (Index)(distance * (1.0 - inside)) + 1, nside);
    const Index number = min((Index)(quarters * ring), 4 * ring - 1);
    return at.z > 0.0 ? 2 * ring * (ring - 1) + number : 12 * nside * nside - 2 * ring * (ring + 1) + number;
}

// Poisson counts (skies, pixels) with the means `mean` (pixels,).
extern "C" __global__ void smooth_counts(
    Index skies, Index first_sky, Index seed, Index stream, Index pixels, const double *mean, Index *counts)
{
    const Index first = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    for (Index at = first; at < skies * pixels; at += (Index)gridDim.x * blockDim.x) {
        const Address address = {(Word)stream, (Word)(first_sky + at / pixels), (Word)seed};
        counts[at] = poisson(mean[at % pixels], at % pixels, address);
    }
}

// Number of sources (skies,) of a population, `expected` on average.
extern "C" __global__ void source_numbers(
    Index skies, Index first_sky, Index seed, Index stream, double expected, Index *numbers)
{
    const Index first = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    for (Index sky = first; sky < skies; sky += (Index)gridDim.x * blockDim.x)
        numbers[sky] = poisson(expected, 0, {(Word)stream, (Word)(first_sky + sky), (Word)seed});
}

// Add the photons of every source of a population to counts (skies, counted). A thread is one source of one sky.
//
// most: largest of `numbers` (skies,). Streams of sources, of their numbers of photons, and of photons. face, x, y,
// offset, exposure, running_sources (places,), position: see PixelTable, SourceTable in tables.py; running_cells,
// origin, step, decay (cells,); radii (nodes,) over w = 0 .. largest_w, or none for photons that stay in their pixel.
extern "C" __global__ void scatter_photons(
    Index skies, Index most, Index first_sky, Index seed, Index sources_stream, Index number_stream,
    Index photons_stream, Index nside, Index places, Index cells, Index nodes, Index counted, double largest_w,
    const Index *numbers, const Index *face, const Index *x, const Index *y, const Index *offset,
    const double *exposure, const int *position, const double *running_sources, const double *running_cells,
    const double *origin, const double *step, const double *decay, const double *radii, Index *counts)
{
    const Index first = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    for (Index at = first; at < skies * most; at += (Index)gridDim.x * blockDim.x) {
        const Index sky = at / most, source = at % most;
        if (source >= numbers[sky])
            continue;
        const Word number = first_sky + sky;
        const Address address = {(Word)sources_stream, number, (Word)seed};
        const Pair which = uniforms(0, source, address), where = uniforms(1, source, address);
        const Index pixel = entry(running_sources, places, which.u), cell = entry(running_cells, cells, which.v);
        const Direction from = on_face(face[pixel], (x[pixel] + where.u) / nside, (y[pixel] + where.v) / nside);
        const double u = uniforms(2, source, address).u, fall = decay[cell];
        const double t = fall > 1e-300 ? -log1p(u * expm1(-fall)) / fall : u;
        const double s = origin[cell] * exp(step[cell] * t);
        const Index photons = poisson(s * exposure[pixel], source, {(Word)number_stream, number, (Word)seed});
        Word *of_sky = (Word *)counts + sky * counted;
        if (nodes == 0 && pixel < counted)
            atomicAdd(of_sky + pixel, (Word)photons);
        const Address of_photons = {(Word)photons_stream, number, (Word)seed};
        for (Index photon = 0; nodes > 0 && photon < photons; ++photon) {
            const Pair draw = uniforms(photon, source, of_photons);
            const double place = sqrt(-log(draw.u)) * ((nodes - 1) / largest_w);
            const Index node = min((Index)place, nodes - 2);
            const double radius = radii[node] + (place - node) * (radii[node + 1] - radii[node]);
            const Direction to = displaced(from, radius, 2.0 * PI * draw.v);
            const Index target = position[offset[pixel] + ring_pixel(nside, to)];
            if (target >= 0)
                atomicAdd(of_sky + target, (Word)1);
        }
    }
}
