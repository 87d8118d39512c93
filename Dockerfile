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
 && useradd --system --home-dir /var/lib/weir --create-home --shell /usr/sbin/nologin weir
COPY --from=build /build/weir /usr/bin/weir
USER weir
WORKDIR /etc/weir
EXPOSE 4000
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/weir"]
CMD ["serve", "/etc/weir/weir.lua"]
