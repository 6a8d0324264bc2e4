# syntax=docker/dockerfile:1
# The image holds one static binary and the certificates it needs to call webhooks: no shell, no package manager.

FROM node:22-bookworm-slim AS console
WORKDIR /src/console
COPY console/package.json console/package-lock.json console/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY console ./
COPY internal/console/dist ../internal/console/dist
RUN npm run build

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=console /src/internal/console/dist internal/console/dist
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/gatehouse ./cmd/gatehouse
# An empty folder that belongs to the user of the image: a fresh volume takes its owner from here.
RUN mkdir -p /out/data && chown 65532:65532 /out/data && chmod 0700 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/gatehouse /gatehouse
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
VOLUME /data
# 8080 is HTTP, over TLS with a certificate made at first start unless one is given; 2222 is SSH.
EXPOSE 8080 2222
STOPSIGNAL SIGTERM
ENTRYPOINT ["/gatehouse"]
CMD ["serve", "--data", "/data", "--http", "0.0.0.0:8080", "--ssh", "0.0.0.0:2222"]
