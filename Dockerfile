# Holdline in a container. Put holdline.yaml and .env into a folder and mount it as /data; the records
# of calls go there too, so user 10001 must be able to write it (chown 10001 data):
#
#   docker build -t holdline .
#   docker run --rm --init --read-only --tmpfs /tmp -p 8080:8080 -e HOLDLINE_TOKEN=... \
#       -v "$PWD/data:/data" holdline
#
# Others can reach a container's port, so it starts only with HOLDLINE_TOKEN (or names it in one line
# and ends with exit code 2). Behind a proxy, also give it `-e FORWARDED_ALLOW_IPS=` with the address
# from which the proxy comes in, as docs/configuration.md says. Twilio's calls need port 8080 alone;
# the browser's telephone sends its sound over UDP and needs `--network host`. `docker stop -t 65`
# lets calls in progress end (`shutdown.drain_s` plus 35 s), and `docker kill -s HUP` brings a changed
# configuration into force. More: docs/deploy.md.
#
# The image below is pinned; docs/deploy.md says how to renew that.
FROM python:3.11.15-slim-bookworm@sha256:b18992999dbe963a45a8a4da40ac2b1975be1a776d939d098c647482bcad5cba AS base

FROM base AS build

WORKDIR /app
# Compiled now: the user below may not write here, and would compile everything at every start.
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1

# What `make setup` does, in two steps, so that a change of our code fetches no package again. Every
# package is checked against its hash; the drivers of PostgreSQL and Redis are not part of that lock.
COPY requirements.lock requirements-dev.lock ./
COPY scripts/setup scripts/lock_rows scripts/write_bytecode.py scripts/
RUN sh scripts/setup requirements.lock packages && \
    sh scripts/lock_rows requirements-dev.lock asyncpg redis > drivers.lock && \
    .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes \
        --requirement drivers.lock

COPY pyproject.toml README.md LICENSE ./
COPY engines engines
COPY fallbacks fallbacks
COPY calls calls
COPY providers providers
COPY transports transports
COPY processors processors
COPY operations operations
COPY campaigns campaigns
COPY lab lab
COPY bot bot
RUN sh scripts/setup requirements.lock && \
    .venv/bin/python -m compileall -q bot calls campaigns engines fallbacks lab operations processors providers transports
# What installed and built it is not needed to run it; nor is what Pipecat brings for a resampler
# that we do not use, 210 MB.
RUN .venv/bin/python -m pip uninstall --quiet --yes --root-user-action ignore \
        llvmlite numba resampy \
        editables hatchling pathspec pluggy setuptools tomlkit trove-classifiers uv pip && \
    rm -r scripts requirements*.lock drivers.lock

FROM base

# Nothing but /data and /tmp is ever written: run it with a read-only root.
RUN useradd --uid 10001 --create-home --home-dir /data holdline
COPY --from=build /app /app
ENV PATH="/app/.venv/bin:$PATH" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]

# Without a shell in between, so that signals reach it. `docker run holdline doctor` works as well.
ENTRYPOINT ["holdline"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]
