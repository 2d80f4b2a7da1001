# docker build -t fanfare .
# docker run --rm -p 127.0.0.1:8080:8080 fanfare
#
# The version is that of rust-toolchain.toml, which stays outside: rustup would fetch the lint and
# format components it names for a build that needs neither.
ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
COPY . .
# Only downloads are cached between builds: what is compiled is always compiled from this source.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked --bin fanfare \
    && strip -o /fanfare target/release/fanfare

# glibc and nothing else: no shell, no package manager. User and group 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /fanfare /usr/local/bin/fanfare
COPY config/docker.toml /etc/fanfare/fanfare.toml
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/fanfare/
ENV FANFARE_CONFIG=/etc/fanfare/fanfare.toml
USER 65532:65532
# Relative paths of the configuration count from here; there is nothing in it.
WORKDIR /home/nonroot
EXPOSE 8080
# Drains first: give it longer than server.drain (10s) with `docker stop -t 20`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/fanfare", "health", "http://127.0.0.1:8080"]
ENTRYPOINT ["/usr/local/bin/fanfare"]
CMD ["serve"]
