# Refold in an image of its own: docker build -t refold . (BuildKit). See docs/containers.md.
#
# Both stages are of the same Debian: the binary wants the C library that it was linked with, or a later one, and OpenSSL 3.
FROM rust:1.95-slim-trixie AS build

# The client of Kafka is C that is compiled along; see packages_of_librdkafka in script/bootstrap. Versions are not pinned:
# Debian's mirrors have only the newest ones of a release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make perl pkg-config libssl-dev zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY . .
# What was built stays in the caches, so that only what has changed is built again. Lines in backtraces are four fifths of the
# binary, so they are left behind; the names of functions stay.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin refold \
    && strip --strip-debug -o /usr/local/bin/refold target/release/refold

# The binary needs libc, libm, libgcc_s, libssl, libcrypto and libz, and the certificates of those who sign brokers' ones.
# An image without a shell would be smaller by little and could not look whether the service answers.
FROM debian:trixie-slim

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libssl3t64 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/refold --shell /usr/sbin/nologin refold \
    && install --directory --owner refold --group refold --mode 0700 /var/lib/refold

COPY --from=build /usr/local/bin/refold /usr/local/bin/
COPY containers/answers containers/with-secret /usr/local/bin/

# Settings of one's own are read from /etc/refold/config.toml. Where others reach the service, a start without
# REFOLD__AUTH__SECRET is refused.
ENV REFOLD__DATA_DIR=/var/lib/refold \
    REFOLD__HTTP__LISTEN=0.0.0.0:8080 \
    XDG_CONFIG_HOME=/etc

WORKDIR /var/lib/refold
VOLUME ["/var/lib/refold"]
# A number, so that whoever runs it can see that it is not root.
USER 10001:10001
EXPOSE 8080

# Alive, not ready: folding everything anew may take long and is no reason to be ended.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["answers", "/healthz"]

ENTRYPOINT ["refold"]
CMD ["serve"]
