// Counts from 128 on: a warp for each pixel, a block for each group of pixels at a parameter point.
//
// It follows teams.cu, whose text comes before this one. The q_n come in chunks of 128, four for each thread. What earlier
// chunks add is there already; within a chunk it goes as there. Rows are in memory, which the first-level cache holds.
//
// q_n grows up to about exp(-x_0): q_0 is a small power of 2 in place of 1, so that pixels of some thousand photons stay
// in the range of float64. A weight q_{k-m} / q_k that is below it is zero. All else is left to `nptf_pixels`.

#define LARGE_THREADS 512
#define WARP 32
#define AT_ONCE (LARGE_THREADS / WARP)  // pixels
#define LARGEST_START 900      // q_0 is at least 2^-900
#define START_FROM 300         // powers of 2 that q_k may have without that
#define LOWEST 1e-290          // of a q_n; the last one is at least SAFE_LOW

// Four numbers of every block of them: number 4 t + c is entry c * step + t.
__device__ int place_of(int n, int step) { return n % OWN * step + n / OWN; }

// log p and gradient of a group; whether all that this thread has seen stayed in range. rows: of a warp, y and q.
__device__ bool by_warps(const Piece &piece, double *rows, double *scaled)
{
    const int lane = threadIdx.x % WARP, team = threadIdx.x / WARP, most = piece.most, step = most / OWN + 1;
    double *y = rows + (Index)team * 2 * OWN * step, *q = y + OWN * step;
    bool safe = true;
    for (int first_pixel = 0; first_pixel < LANES; first_pixel += AT_ONCE) {
        const int pixel = (int)piece.lanes[first_pixel + team];
        const bool there = pixel >= 0;
        const int k = there ? (int)piece.counts[pixel] : 0;
        const double no_photon = there ? x_of(piece, pixel, 0) : 0.0;
        const int start = min(max((int)(-no_photon * 1.4426950408889634) - START_FROM, 0), LARGEST_START);
        safe = safe && no_photon > -1e9;  // not NaN; the integer is right
        for (int n = lane; n < OWN * step; n += WARP) {
            const double value = there && n <= max(most, 1) ? n * x_of(piece, pixel, n) : 0.0;
            safe = safe && (n == 0 || n > max(k, 1) || between(value, 0.0, SAFE_HIGH));
            y[place_of(n, step)] = value;
        }
        __syncwarp();  // the y are there
        for (int first = 0; first < step; first += WARP) {  // a chunk: its first block of four
            const int own = first + lane, n = OWN * own;
            const bool mine = own < step;
            Four sum = {n == 0 ? ldexp(1.0, -start) : 0.0, 0.0, 0.0, 0.0}, high = mine ? four(y + own, step) : Four();
#pragma unroll 1
            for (int owner = 0; owner < first; ++owner)
                if (mine)
                    add(sum, high, four(q + owner, step), four(y + own - owner - 1, step));
            const Four inverse = {n == 0 ? 1.0 : 1.0 / n, 1.0 / (n + 1), 1.0 / (n + 2), 1.0 / (n + 3)};
            const double y1 = y[place_of(1, step)], y2 = y[place_of(2, step)], y3 = y[place_of(3, step)];
#pragma unroll 1
            for (int owner = first; owner < min(first + WARP, step); ++owner) {
                const Four told = completed<WARP>(sum, inverse, y1, y2, y3, owner - first);
                if (own == owner)
                    sum = told;
                else if (own > owner && mine)
                    add(sum, high, told, four(y + own - owner - 1, step));
            }
            const double found[OWN] = {sum.a, sum.b, sum.c, sum.d};
#pragma unroll
            for (int c = 0; c < OWN; ++c) {
                if (mine)
                    q[c * step + own] = found[c];
                safe = safe && (n + c > k || between(found[c], start > 0 ? LOWEST : SAFE_LOW, SAFE_HIGH));
            }
            __syncwarp();  // the q of this chunk are there
        }
        const double last = q[place_of(k, step)];
        safe = safe && last >= SAFE_LOW;
        if (there && lane == 0)
            piece.log_p[pixel] = no_photon + log(last) + start * 0.6931471805599453;
        __syncwarp();  // nobody reads y any more
        if (piece.cotangent == nullptr)
            continue;
        const double inverse_last = 1.0 / last, factor = there ? piece.cotangent[pixel] : 0.0;
        for (int m = lane; m <= most; m += WARP)
            y[m] = !there || m > k ? 0.0 : m == 0 ? 1.0 : q[place_of(k - m, step)] * inverse_last;
        __syncwarp();  // the weights of the pixel are there, in place of its y
        add_gradient<WARP, LARGE_THREADS>(
            piece, pixel, k, factor, y, rows, 2 * OWN * step, scaled, first_pixel == 0);
    }
    return safe;
}

// log p and gradient of the groups of large counts that are `left` (batch, groups); it clears the marks of those that it
// could do. scratch (blocks, 3, terms, LANES); all others: as for `nptf_teams`.
extern "C" __global__ void __launch_bounds__(LARGE_THREADS, 1) nptf_large(
    Index batch, Index plans, Index means, Index factors, Index responses, Index cotangents, Index pixels,
    Index populations, Index regions, Index terms, Index groups, Index want_gradient, const Index *lanes,
    const Index *group_region, const Index *group_counts, const Index *counts, const Index *order, const double *mean,
    const double *templates, const double *x, const double *cotangent, double *log_p, double *d_mean,
    double *d_templates, double *partial, int *left, double *scratch)
{
    __shared__ double scaled[MOST_POPULATIONS * AT_ONCE];
    __shared__ Piece piece;
    double *rows = scratch + (Index)blockIdx.x * 3 * terms * LANES;
    for (Index item = blockIdx.x; item < batch * groups; item += gridDim.x) {
        const Index b = item % batch, own = share(b, plans, batch), group = order[own * groups + item / batch];
        const Index most = group_counts[own * groups + group];
        if (most < TEAM_TERMS || most >= terms || populations > MOST_POPULATIONS)
            continue;
        if (threadIdx.x == 0)
            piece = piece_of(
                b, own, group, batch, means, factors, responses, cotangents, pixels, populations, regions, terms,
                groups, want_gradient, lanes, group_region, group_counts, counts, mean, templates, x, cotangent, log_p,
                d_mean, d_templates, partial, left);
        __syncthreads();  // the piece is there
        const int marked = __syncthreads_or(!by_warps(piece, rows, scaled));  // and nobody reads rows or piece any more
        if (threadIdx.x == 0)
            left[b * groups + group] = marked;
    }
}
