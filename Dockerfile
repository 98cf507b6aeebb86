# Holdline in a container. Put holdline.yaml and .env into a folder and mount it as /data; the records
# of calls go there too, so user 10001 must be able to write it (chown 10001 data):
#
#   docker build -t holdline .
#   docker run --rm -p 8080:8080 -e HOLDLINE_TOKEN=... -v "$PWD/data:/data" holdline
#
# Others can reach a container's port, so it starts only with HOLDLINE_TOKEN (or names it in one line
# and ends with exit code 2). Twilio's calls need port 8080 alone; the browser's telephone sends its
# sound over UDP and needs `--network host`. `docker stop -t 40` lets calls in progress end.
FROM python:3.11-slim

WORKDIR /app
# Compiled now: the user below may not write here, and would compile everything at every start.
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1 PATH="/app/.venv/bin:$PATH"

COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY scripts/setup scripts/
COPY engines engines
COPY fallbacks fallbacks
COPY calls calls
COPY telemetry telemetry
COPY storage storage
COPY providers providers
COPY transports transports
COPY processors processors
COPY faultlab faultlab
COPY drill drill
COPY bot bot
# What `make setup` does; every package is checked against its hash.
RUN sh scripts/setup requirements.lock && \
    python -m compileall -q bot calls drill engines fallbacks faultlab processors providers storage telemetry transports

RUN useradd --uid 10001 --create-home --home-dir /data holdline
USER holdline
WORKDIR /data
VOLUME /data
EXPOSE 8080

HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]

CMD ["holdline", "serve", "--host", "0.0.0.0", "--port", "8080"]
