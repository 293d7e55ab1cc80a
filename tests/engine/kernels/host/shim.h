// CUDA C++ for a host compiler, for tests: the threads of a block are coroutines, the blocks of a grid a loop.
//
// `__syncthreads` hands over to the next thread of the block; when all have come to it they go on from there. A thread
// that ends, or waits, while others of its block do not is reported: on a device it would hang or race. The threads run in
// rising or falling order: a missing `__syncthreads` shows as a difference.
#pragma once
#include <algorithm>
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

using std::max;
using std::min;

struct Coordinates {
    unsigned x, y, z;
};
static thread_local Coordinates gridDim, blockDim, blockIdx, threadIdx;

struct Block {
    ucontext_t scheduler;
    std::vector<ucontext_t> threads;
    std::vector<std::vector<char>> stacks;
    std::vector<bool> ended;
    unsigned current = 0;
    std::function<void()> body;
};
static thread_local Block *block = nullptr;

static inline void __syncthreads() { swapcontext(&block->threads[block->current], &block->scheduler); }

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
    own->ended[own->current] = true;
    swapcontext(&own->threads[own->current], &own->scheduler);
}

// Every thread of one block, from barrier to barrier; false where they part ways.
static bool run_block(Block &own, bool falling)
{
    const unsigned size = blockDim.x;
    std::fill(own.ended.begin(), own.ended.end(), false);
    for (unsigned t = 0; t < size; ++t) {
        getcontext(&own.threads[t]);
        own.threads[t].uc_stack.ss_sp = own.stacks[t].data();
        own.threads[t].uc_stack.ss_size = own.stacks[t].size();
        own.threads[t].uc_link = nullptr;
        makecontext(&own.threads[t], run_thread, 0);
    }
    unsigned ended = 0;
    while (ended == 0) {
        for (unsigned step = 0; step < size; ++step) {
            own.current = falling ? size - 1 - step : step;
            threadIdx = {own.current, 0, 0};
            swapcontext(&own.scheduler, &own.threads[own.current]);
            ended += own.ended[own.current];
        }
    }
    return ended == size;
}

static int run_grid(unsigned blocks, unsigned threads, bool falling, std::function<void()> body)
{
    Block own;
    own.threads.resize(threads);
    own.stacks.assign(threads, std::vector<char>(1 << 16));
    own.ended.resize(threads);
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
