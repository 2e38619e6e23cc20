# syntax=docker/dockerfile:1
# One image with all binaries; which of them runs is the container's command. They handle SIGTERM themselves, also as
# process 1, and start no children, so no init program stands before them.

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches keep RocksDB compiled from one build to the next. What is in them is not in the image, hence the copy.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --workspace --exclude bazaar-bench --bins \
    && install -D --target-directory=/out \
        target/release/bazaar target/release/bazaar-catalog \
        target/release/bazaar-frontend target/release/bazaar-order-raft

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libstdc++6 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 bazaar \
    && useradd --uid 10001 --gid bazaar --no-create-home --home-dir /var/lib/bazaar --shell /usr/sbin/nologin bazaar \
    && install --directory --owner=bazaar --group=bazaar /var/lib/bazaar
COPY --from=build /out/ /usr/local/bin/
# By name: beside them may lie keys and tokens.
COPY config/cluster.toml config/stocks.toml /etc/bazaar/
# The data lie in a folder of the volume, because a volume's own top may hold a file system's lost+found.
ENV BAZAAR_CONFIG=/etc/bazaar/cluster.toml \
    BAZAAR_ORDER_DATA=/var/lib/bazaar/replica \
    BAZAAR_CATALOG_DATA=/var/lib/bazaar/catalog
WORKDIR /var/lib/bazaar
USER 10001:10001
CMD ["bazaar", "--help"]
