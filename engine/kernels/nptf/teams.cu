// Counts below 128: a team of 8, 16 or 32 threads for each pixel, a block for each group of pixels at a parameter point.
//
// It follows recursion.cu and nptf.cu, whose text comes before this one. A thread owns four neighbouring q_n, n = 4 lane +
// c, and keeps their sums in registers. One thread after the other completes its four and tells them to its team; those
// that own later ones add y_{n-j} q_j at once. So a step of the recursion waits for registers alone, not for memory.
//
// A group in which a number leaves the safe range, or that has no likelihood, is marked, and left to `nptf_pixels`.

#define TEAM_THREADS 256   // of a block: all pixels of a group at once, by 8
#define OWN 4              // q_n of a thread
#define TEAM_TERMS 128     // counts must be below
#define MOST_POPULATIONS 8
#define ALL_LANES 0xffffffffu

// One group at one parameter point; arrays begin at its own entries.
struct Piece {
    int most, populations, terms, x_step, pixels;  // most: the largest count; x_step: from population to population
    const Index *lanes, *counts;
    const double *mean, *templates, *x, *cotangent;
    double *log_p, *d_mean, *d_templates, *partial;  // cotangent: null without a gradient
    int *left;
};

// What the threads of a block share. y_m of a pixel is entry m / 4 of its column m % 4, columns of TEAM + 2 entries: the
// teams of half a warp read from different banks. Then its weights, one after the other.
struct Room {
    double rows[TEAM_THREADS / 8 * OWN * (8 + 2)], inverse[TEAM_TERMS], scaled[MOST_POPULATIONS * TEAM_THREADS / 8];
    Piece piece;
};

// x_n of a pixel.
__device__ double x_of(const Piece &piece, int pixel, int n)
{
    double total = n == 1 ? piece.mean[pixel] : n == 0 ? -piece.mean[pixel] : 0.0;
    for (int i = 0; i < piece.populations; ++i)
        total += piece.templates[(Index)i * piece.pixels + pixel] * piece.x[i * piece.x_step + n];
    return total;
}

// The sum of the numbers of a team, for its first thread.
template <int TEAM> __device__ double sum_of_team(double value)
{
    for (int distance = TEAM / 2; distance > 0; distance /= 2)
        value += __shfl_down_sync(ALL_LANES, value, distance, TEAM);
    return value;
}

// Numbers of a block of four, or sums for them.
struct Four {
    double a, b, c, d;
};

__device__ Four four(const double *of_block, int step)
{
    return {of_block[0], of_block[step], of_block[2 * step], of_block[3 * step]};
}

// What q_j of an earlier block adds to the four sums of a later one: y_m with m = n - j are `high` and, below them, `low`.
__device__ void add(Four &sum, Four &high, const Four &q, const Four &low)
{
    sum.a += high.a * q.a + low.d * q.b + low.c * q.c + low.b * q.d;
    sum.b += high.b * q.a + high.a * q.b + low.d * q.c + low.c * q.d;
    sum.c += high.c * q.a + high.b * q.b + high.a * q.c + low.d * q.d;
    sum.d += high.d * q.a + high.c * q.b + high.b * q.c + high.a * q.d;
    high = low;
}

// The four q_n of a thread from its sums, told to its team; inverse: 1 / n of these. y1, y2, y3 are y_1, y_2, y_3.
template <int TEAM>
__device__ Four completed(const Four &sum, const Four &inverse, double y1, double y2, double y3, int owner)
{
    Four q;
    q.a = sum.a * inverse.a;
    q.b = (sum.b + y1 * q.a) * inverse.b;
    q.c = (sum.c + y2 * q.a + y1 * q.b) * inverse.c;
    q.d = (sum.d + y3 * q.a + y2 * q.b + y1 * q.c) * inverse.d;
    q.a = __shfl_sync(ALL_LANES, q.a, owner, TEAM);
    q.b = __shfl_sync(ALL_LANES, q.b, owner, TEAM);
    q.c = __shfl_sync(ALL_LANES, q.c, owner, TEAM);
    q.d = __shfl_sync(ALL_LANES, q.d, owner, TEAM);
    return q;
}

// The gradient of the pixels that the teams of a block have at once, -1 for none, from the weights w_m of each, `step`
// apart in `rows`. scaled: room for a number of each population and team. The first pixels of a group begin its d/dX.
template <int TEAM, int THREADS>
__device__ void add_gradient(
    const Piece &piece, int pixel, int k, double factor, const double *weights, const double *rows, Index step,
    double *scaled, bool first)
{
    constexpr int TOGETHER = THREADS / TEAM;
    const int lane = threadIdx.x % TEAM, team = threadIdx.x / TEAM, most = piece.most;
    const bool there = pixel >= 0;
    if (there && lane == 0)
        piece.d_mean[pixel] = (k > 0 ? factor * weights[1] : 0.0) - factor;
    for (int i = 0; i < piece.populations; ++i) {
        double total = 0.0;
#pragma unroll 2
        for (int m = lane; m <= k; m += TEAM)
            total += piece.x[i * piece.x_step + m] * weights[m];
        total = sum_of_team<TEAM>(total);
        if (lane == 0) {
            scaled[i * TOGETHER + team] = there ? factor * piece.templates[(Index)i * piece.pixels + pixel] : 0.0;
            if (there)
                piece.d_templates[(Index)i * piece.pixels + pixel] = factor * total;
        }
    }
    __syncthreads();  // the weights of all teams are there
    for (int entry = threadIdx.x; entry < piece.populations * (most + 1); entry += THREADS) {
        const int i = entry / (most + 1), m = entry % (most + 1);
        double *found = piece.partial + i * piece.terms + m, total = first ? 0.0 : *found;
#pragma unroll 4
        for (int other = 0; other < TOGETHER; ++other)
            total += scaled[i * TOGETHER + other] * rows[other * step + m];
        *found = total;
    }
    __syncthreads();  // nobody reads the weights any more
}

// log p and gradient of a group, by teams of so many threads; whether what this thread has seen is in the safe range.
template <int TEAM> __device__ bool by_teams(Room &room)
{
    constexpr int COLUMN = TEAM + 2, TOGETHER = TEAM_THREADS / TEAM;  // pixels
    static_assert(TOGETHER * OWN * COLUMN <= sizeof(room.rows) / sizeof(double), "the rows fit");
    const Piece &piece = room.piece;
    const int lane = threadIdx.x % TEAM, team = threadIdx.x / TEAM, most = piece.most;
    double *row = room.rows + team * OWN * COLUMN;
    bool safe = true;
    for (int first = 0; first < LANES; first += TOGETHER) {
        const int pixel = (int)piece.lanes[first + team];
        const bool there = pixel >= 0;
        const int k = there ? (int)piece.counts[pixel] : 0;
#pragma unroll 2
        for (int n = lane; n < OWN * TEAM; n += TEAM) {
            const double y = there && n <= max(most, 1) ? n * x_of(piece, pixel, n) : 0.0;
            safe = safe && (n == 0 || n > max(k, 1) || between(y, 0.0, SAFE_HIGH));
            row[n % OWN * COLUMN + n / OWN] = y;
        }
        __syncwarp();  // the y of the team are there
        Four sum = {lane == 0 ? 1.0 : 0.0, 0.0, 0.0, 0.0}, high = four(row + lane, COLUMN);
        const double y1 = row[COLUMN], y2 = row[2 * COLUMN], y3 = row[3 * COLUMN];
#pragma unroll 1
        for (int owner = 0; owner <= most / OWN; ++owner) {
            const double *of_owner = room.inverse + OWN * owner;  // whose numbers alone are right
            const Four told = completed<TEAM>(sum, four(of_owner, 1), y1, y2, y3, owner);
            if (lane == owner)
                sum = told;
            else if (lane > owner)
                add(sum, high, told, four(row + lane - owner - 1, COLUMN));
        }
        const double found[OWN] = {sum.a, sum.b, sum.c, sum.d};
#pragma unroll
        for (int c = 0; c < OWN; ++c)
            safe = safe && (OWN * lane + c > k || between(found[c], SAFE_LOW, SAFE_HIGH));
        const int at = k % OWN;
        const double own_last = at == 0 ? sum.a : at == 1 ? sum.b : at == 2 ? sum.c : sum.d;
        const double last = __shfl_sync(ALL_LANES, own_last, k / OWN, TEAM);
        if (there && lane == 0)
            piece.log_p[pixel] = x_of(piece, pixel, 0) + log(last);
        __syncwarp();  // nobody reads y any more
        if (piece.cotangent == nullptr)
            continue;
        const double inverse_last = 1.0 / last, factor = there ? piece.cotangent[pixel] : 0.0;
#pragma unroll
        for (int c = 0; c < OWN; ++c)
            if (OWN * lane + c <= k)
                row[k - OWN * lane - c] = there ? found[c] * inverse_last : 0.0;
        for (int m = k + 1 + lane; m <= most; m += TEAM)
            row[m] = 0.0;
        __syncwarp();  // the weights of the team are there
        add_gradient<TEAM, TEAM_THREADS>(
            piece, pixel, k, factor, row, room.rows, OWN * COLUMN, room.scaled, first == 0);
    }
    return safe;
}

// Which of `entries` leading entries the point b of `batch` has; divisions take long.
__device__ Index share(Index b, Index entries, Index batch)
{
    return entries == 1 ? 0 : entries == batch ? b : (unsigned)b / ((unsigned)batch / (unsigned)entries);
}

// The group of the plan `own` at the point b.
__device__ Piece piece_of(
    Index b, Index own, Index group, Index batch, Index means, Index factors, Index responses, Index cotangents,
    Index pixels, Index populations, Index regions, Index terms, Index groups, Index want_gradient, const Index *lanes,
    const Index *group_region, const Index *group_counts, const Index *counts, const double *mean,
    const double *templates, const double *x, const double *cotangent, double *log_p, double *d_mean,
    double *d_templates, double *partial, int *left)
{
    const Index place = own * groups + group;
    return {
        (int)group_counts[place], (int)populations, (int)terms, (int)(regions * terms), (int)pixels,
        lanes + place * LANES, counts + own * pixels, mean + share(b, means, batch) * pixels,
        templates + share(b, factors, batch) * populations * pixels,
        x + (share(b, responses, batch) * populations * regions + group_region[place]) * terms,
        want_gradient ? cotangent + share(b, cotangents, batch) * pixels : nullptr, log_p + b * pixels,
        d_mean + b * pixels, d_templates + b * populations * pixels,
        partial + (b * groups + group) * populations * terms, left + b * groups + group};
}

// log p and gradient of `batch` parameter points, a block for each group of each; `left` (batch, groups) is 1 for those
// that it leaves.
//
// order (plans, groups): groups by falling count, so that the longest begin first. partial (batch, groups, populations,
// terms): d/dX of each group, up to its largest count. All others: as for `nptf_pixels`.
extern "C" __global__ void __launch_bounds__(TEAM_THREADS, 4) nptf_teams(
    Index batch, Index plans, Index means, Index factors, Index responses, Index cotangents, Index pixels,
    Index populations, Index regions, Index terms, Index groups, Index want_gradient, const Index *lanes,
    const Index *group_region, const Index *group_counts, const Index *counts, const Index *order, const double *mean,
    const double *templates, const double *x, const double *cotangent, double *log_p, double *d_mean,
    double *d_templates, double *partial, int *left)
{
    __shared__ Room room;
    if (threadIdx.x < TEAM_TERMS)
        room.inverse[threadIdx.x] = threadIdx.x == 0 ? 1.0 : 1.0 / threadIdx.x;
    const unsigned points = (unsigned)batch;
    const Index b = blockIdx.x % points, own = share(b, plans, batch), group = order[own * groups + blockIdx.x / points];
    const Index most = group_counts[own * groups + group];
    bool safe = most < min(terms, (Index)TEAM_TERMS) && populations <= MOST_POPULATIONS;
    if (threadIdx.x == 0)
        room.piece = piece_of(
            b, own, group, batch, means, factors, responses, cotangents, pixels, populations, regions, terms, groups,
            want_gradient, lanes, group_region, group_counts, counts, mean, templates, x, cotangent, log_p, d_mean,
            d_templates, partial, left);
    __syncthreads();  // the piece and the inverse numbers are there
    if (safe)
        safe = most < 32 ? by_teams<8>(room) : most < 64 ? by_teams<16>(room) : by_teams<32>(room);
    const int marked = __syncthreads_or(!safe);
    if (threadIdx.x == 0)
        *room.piece.left = marked;
}

// d_x (batch, populations, regions, terms): sums of partial (batch, groups, populations, terms) over the groups of a
// region, which follow each other, in their order.
extern "C" __global__ void nptf_regions(
    Index batch, Index plans, Index populations, Index regions, Index terms, Index groups, const Index *group_region,
    const Index *group_counts, const double *partial, double *d_x)
{
    const Index start = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    for (Index at = start; at < batch * populations * regions * terms; at += (Index)gridDim.x * blockDim.x) {
        const Index m = at % terms, region = at / terms % regions, i = at / terms / regions % populations;
        const Index b = at / terms / regions / populations, own = b * plans / batch * groups;
        Index limits[2];
        for (int side = 0; side < 2; ++side) {  // the first group of a region that is not below this, or the next, one
            Index low = 0, high = groups;
            while (low < high) {
                const Index middle = (low + high) / 2;
                if (group_region[own + middle] < region + side)
                    low = middle + 1;
                else
                    high = middle;
            }
            limits[side] = low;
        }
        double total = 0.0;
#pragma unroll 4
        for (Index group = limits[0]; group < limits[1]; ++group)
            total += m <= group_counts[own + group] ? partial[((b * groups + group) * populations + i) * terms + m] : 0.0;
        d_x[at] = total;
    }
}
