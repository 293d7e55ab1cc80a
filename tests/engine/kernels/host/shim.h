// CUDA C++ for a host compiler, for tests: the threads of a block are coroutines, the blocks of a grid a loop.
//
// `__syncthreads` hands over to the next thread of the block; when all have come to it they go on from there. A thread
// that ends, or waits, while others of its block do not is reported: on a device it would hang or race. The threads run in
// rising or falling order: a missing `__syncthreads` shows as a difference.
#pragma once
#include <algorithm>
#include <csetjmp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__ static
#define __shared__ static thread_local
#define __restrict__
#define __launch_bounds__(...)

using std::max;
using std::min;

struct Coordinates {
    unsigned x, y, z;
};
static thread_local Coordinates gridDim, blockDim, blockIdx, threadIdx;

// A context begins a thread; jumps, which ask nothing of the system, change between threads that have begun.
struct Thread {
    ucontext_t begin;
    jmp_buf place;
    std::vector<char> stack;
    bool begun, ended;
};

struct Block {
    jmp_buf scheduler;
    std::vector<Thread> threads;
    unsigned current = 0;
    std::function<void()> body;
};
static thread_local Block *block = nullptr;

static inline void __syncthreads()
{
    if (_setjmp(block->threads[block->current].place) == 0)
        _longjmp(block->scheduler, 1);
}

// Within a warp, too, all threads of the block wait: kernels take its barriers together.
static inline void __syncwarp() { __syncthreads(); }

// What each thread tells the others at a barrier. Two rooms by turns: one is read while the first write the next.
static thread_local double told[2][1024];
static thread_local bool second_room[1024];  // of each thread, whether it writes there next

template <class Read> static auto exchange(double value, Read read)
{
    const unsigned me = block->current;
    double *room = told[second_room[me]];
    second_room[me] = !second_room[me];
    room[me] = value;
    __syncthreads();
    return read(room);
}

static inline double __shfl_sync(unsigned, double value, int from, int width)
{
    const unsigned first = block->current / width * width;
    return exchange(value, [=](const double *all) { return all[first + from]; });
}

static inline double __shfl_down_sync(unsigned, double value, int distance, int width)
{
    const unsigned me = block->current, source = me % width + distance < (unsigned)width ? me + distance : me;
    return exchange(value, [=](const double *all) { return all[source]; });
}

static inline int __syncthreads_or(int value)
{
    return exchange(value, [](const double *all) {
        return (int)std::any_of(all, all + blockDim.x, [](double one) { return one != 0.0; });
    });
}

template <class T>
static T atomicAdd(T *place, T value)
{
    const T before = *place;
    *place += value;
    return before;
}

static void run_thread()
{
    Block *own = block;
    own->body();
    own->threads[own->current].ended = true;
    _longjmp(own->scheduler, 1);
}

// One thread up to its next barrier, or its end.
static void go_on(Block &own)
{
    Thread &thread = own.threads[own.current];
    threadIdx = {own.current, 0, 0};
    if (_setjmp(own.scheduler) != 0)
        return;
    if (thread.begun)
        _longjmp(thread.place, 1);
    thread.begun = true;
    setcontext(&thread.begin);
}

// Every thread of one block, from barrier to barrier; false where they part ways.
static bool run_block(Block &own, bool falling)
{
    const unsigned size = blockDim.x;
    for (Thread &thread : own.threads) {
        thread.begun = thread.ended = false;
        getcontext(&thread.begin);
        thread.begin.uc_stack.ss_sp = thread.stack.data();
        thread.begin.uc_stack.ss_size = thread.stack.size();
        thread.begin.uc_link = nullptr;
        makecontext(&thread.begin, run_thread, 0);
    }
    unsigned ended = 0;
    while (ended == 0) {
        for (unsigned step = 0; step < size; ++step) {
            own.current = falling ? size - 1 - step : step;
            go_on(own);
            ended += own.threads[own.current].ended;
        }
    }
    return ended == size;
}

static int run_grid(unsigned blocks, unsigned threads, bool falling, std::function<void()> body)
{
    Block own;
    own.threads.resize(threads);
    for (Thread &thread : own.threads)
        thread.stack.resize(1 << 16);
    own.body = std::move(body);
    block = &own;
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    bool together = true;
    for (unsigned b = 0; b < blocks && together; ++b) {
        blockIdx = {b, 0, 0};
        together = run_block(own, falling);
    }
    block = nullptr;
    return together ? 0 : 1;
}

template <class... Types, std::size_t... At>
static int run_kernel(
    void (*kernel)(Types...), unsigned blocks, unsigned threads, bool falling, void **arguments,
    std::index_sequence<At...>)
{
    std::tuple<Types...> values;
    ((std::memcpy(&std::get<At>(values), arguments[At], sizeof(Types))), ...);
    return run_grid(blocks, threads, falling, [&] { std::apply(kernel, values); });
}

template <class... Types>
static int run_with(
    void (*kernel)(Types...), unsigned blocks, unsigned threads, bool falling, void **arguments, int count)
{
    if (count != (int)sizeof...(Types))
        return 2;
    return run_kernel(kernel, blocks, threads, falling, arguments, std::index_sequence_for<Types...>{});
}

// Launch `name` as a driver would: each argument by its address. 0; 1 for a divergent barrier; 2 for a wrong number of
// arguments.
#define HOST_KERNEL(name)                                                                                              \
    extern "C" int launch_##name(unsigned blocks, unsigned threads, int falling, void **arguments, int count)          \
    {                                                                                                                  \
        return run_with(name, blocks, threads, falling != 0, arguments, count);                                        \
    }
