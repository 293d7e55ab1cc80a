// Poisson pixel likelihood on a GPU: log p = k log(mean) - mean - log k! and its slope k / mean - 1, as in cpu.py.

typedef long long Index;

// counts, constant (plans, pixels) with plans = 1 or batch; mean, log_p, slope (batch, pixels).
extern "C" __global__ void poisson_pixels(
    Index batch, Index plans, Index pixels, const double *counts, const double *constant, const double *mean,
    double *log_p, double *slope)
{
    const Index first = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    for (Index at = first; at < batch * pixels; at += (Index)gridDim.x * blockDim.x) {
        const Index place = at / pixels * plans / batch * pixels + at % pixels;
        const double k = counts[place], value = mean[at];
        if (!(value >= 0.0)) {
            log_p[at] = slope[at] = nan("");
        } else if (k == 0.0) {  // 0 log 0 = 0
            log_p[at] = -value;
            slope[at] = -1.0;
        } else {
            log_p[at] = k * log(value) - value - constant[place];
            slope[at] = k / value - 1.0;
        }
    }
}
