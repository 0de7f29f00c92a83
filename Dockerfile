# Two stages: the first builds, the second runs. docs/DEPLOYMENT.md says what of this file was run, and how.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# `dist` is release with fat LTO and without symbols; gcc, which the C parts need, is in the image
RUN cargo build --locked --profile dist --bin tollgate \
 && mkdir /empty

FROM debian:bookworm-slim
# the only things the gateway needs besides libc and libgcc: itself, and the authorities that sign upstreams
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/dist/tollgate /usr/local/bin/tollgate
# a new volume takes over the owner of this folder
COPY --from=build --chown=65532:65532 /empty /data
# `data_dir: ./data`, the default, is /data from here
WORKDIR /
ENV TOLLGATE_CONFIG=/etc/tollgate/tollgate.yaml
VOLUME /data
EXPOSE 4000
# a number, so that a cluster that insists on `runAsNonRoot` can tell
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["tollgate", "health"]
# longer than `server.shutdown_grace`, so ask for `docker stop --time 40`
STOPSIGNAL SIGTERM
ENTRYPOINT ["tollgate"]
CMD ["serve"]
