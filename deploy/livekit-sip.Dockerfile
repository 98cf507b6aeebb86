# livekit-sip, LiveKit's SIP gateway, in the version that the tests use. See docs/sip.md.
FROM golang:1.26.4-bookworm@sha256:b305420a68d0f229d91eb3b3ed9e519fcf2cf5461da4bef997bf927e8c0bfd2b AS build

RUN apt-get update && apt-get install --yes --no-install-recommends \
        libopus-dev libopusfile-dev libsoxr-dev pkg-config
COPY scripts/peers /usr/local/bin/peers
RUN HOLDLINE_PEERS=/peers peers sip && mv /peers/bin/livekit-sip-v* /livekit-sip

# The same base image as Holdline's own, so that there is one image fewer to update.
FROM python:3.11.15-slim-bookworm@sha256:b18992999dbe963a45a8a4da40ac2b1975be1a776d939d098c647482bcad5cba

RUN apt-get update && apt-get install --yes --no-install-recommends \
        ca-certificates libopus0 libopusfile0 libsoxr0 && rm -r /var/lib/apt/lists/* && \
    useradd --uid 10002 livekit
COPY --from=build /livekit-sip /usr/local/bin/livekit-sip
USER 10002:10002
STOPSIGNAL SIGTERM
ENTRYPOINT ["livekit-sip"]
