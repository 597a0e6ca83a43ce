# The image with all programs: what `make images` makes without a container engine.
#   docker build --tag clickstream:0.1.0 .

FROM node:22-bookworm-slim AS page
WORKDIR /source/ui
COPY ui/package.json ui/package-lock.json ./
RUN PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund --loglevel=error
COPY ui ./
RUN npm run --silent build

FROM rust:1.95-bookworm AS programs
WORKDIR /source
COPY . .
COPY --from=page /source/ui/dist ui/dist
RUN cargo build --locked --release --bins \
    -p clickstream-operator -p clickstream-worker -p clickstream-handler -p clickstream
RUN image/rootfs target/release /image

# No shell, no package manager: the programs, their libraries, and the authorities that sign certificates.
FROM scratch
COPY --from=programs /image /
ENV PATH=/usr/bin
USER 65532:65532
CMD ["clickstream"]
