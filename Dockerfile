# The Debian package, built and installed:  docker build -t polyarch .
# Running it: docs/operations.md, "Installing".
FROM debian:12-slim AS build
WORKDIR /src
COPY tools/setup tools/setup
RUN tools/setup
COPY . .
RUN tools/build release polyarch polyarch-check && cd build/release && cpack -G DEB

FROM debian:12-slim
# Before the package would: a number that is always the same, for directories of the host.
RUN groupadd --gid 7400 polyarch \
 && useradd --uid 7400 --gid polyarch --home-dir /var/lib/polyarch --no-create-home --shell /usr/sbin/nologin polyarch
COPY --from=build /src/build/release/polyarch_*.deb /tmp/
RUN apt-get update \
 && apt-get install -y --no-install-recommends /tmp/polyarch_*.deb \
 && rm -rf /tmp/polyarch_*.deb /var/lib/apt/lists/* \
 && install -d -o polyarch -g polyarch -m 0750 /var/lib/polyarch/backups

USER polyarch
WORKDIR /var/lib/polyarch
VOLUME /var/lib/polyarch
# Clients; other leaders, who are not authenticated; metrics and health.
EXPOSE 7400 8400 9400
# /healthz asks for no password, and stays healthy while a start reads its data. With another HTTP port give
# docker run --health-cmd.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9400 && printf 'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == *' 200 '* ]]"]
# Without an `id` it ends with exit code 2: no cluster is founded by mistake.
ENTRYPOINT ["polyarch"]
CMD ["server", "--config", "/etc/polyarch/polyarch.toml"]
