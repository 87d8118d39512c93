# Weir in an image without a shell's comforts: docker build -t weir .
FROM debian:bookworm-slim AS build
WORKDIR /src
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev make cmake pkg-config libevent-dev \
      libssl-dev libcurl4-openssl-dev libcjson-dev libsqlite3-dev libluajit-5.1-dev luajit \
 && rm -rf /var/lib/apt/lists/*
COPY . .
RUN cmake -B /build -DCMAKE_BUILD_TYPE=RelWithDebInfo && cmake --build /build --parallel \
 && strip /build/weir

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates tzdata libcjson1 libsqlite3-0 libcurl4 \
      libevent-core-2.1-7 libevent-extra-2.1-7 libevent-openssl-2.1-7 libluajit-5.1-2 libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 10001 weir \
 && useradd --system --uid 10001 --gid weir --home-dir /var/lib/weir --shell /usr/sbin/nologin weir \
 && install -d -o weir -g weir -m 0700 /var/lib/weir /run/weir
COPY --from=build /build/weir /usr/bin/weir
# By number: who runs it can see that it is not root's.
USER 10001:10001
WORKDIR /var/lib/weir
EXPOSE 4000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s CMD ["/usr/bin/weir", "status"]
ENTRYPOINT ["/usr/bin/weir"]
CMD ["serve", "/etc/weir/weir.lua"]
