# docker build -t gammasky .                          for CPUs
# docker build -t gammasky-cuda --target cuda .       for NVIDIA GPUs; run with --gpus all
# docker run --rm -v "$PWD:/analysis" gammasky fit fiducial --data demo --out fits/demo
FROM python:3.12-slim AS base
WORKDIR /opt/gammasky
COPY pyproject.toml README.md LICENSE ./
COPY analyses analyses
COPY distributed distributed
COPY engine engine
COPY src src
# compiled kernels, programs and data sets outlive the container where a volume is mounted here
ENV XDG_CACHE_HOME=/cache
VOLUME /cache

# JAX and CuPy bring CUDA's libraries along; the driver is the host's
FROM base AS cuda
RUN pip install --no-cache-dir '.[cuda12]'
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /analysis
ENTRYPOINT ["gammasky"]

FROM base AS cpu
RUN pip install --no-cache-dir .
WORKDIR /analysis
ENTRYPOINT ["gammasky"]
