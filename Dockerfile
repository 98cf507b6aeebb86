# Holdline in a container. Put holdline.yaml and .env into a folder and mount it as /data; the records
# of calls go there too, so user 10001 must be able to write it (chown 10001 data):
#
#   docker build -t holdline .
#   docker run --rm --init --read-only --tmpfs /tmp -p 8080:8080 -e HOLDLINE_TOKEN=... \
#       -v "$PWD/data:/data" holdline
#
# Other machines can reach a container's port, so Holdline starts only with HOLDLINE_TOKEN; without it,
# one line names the variable, and the exit code is 2. Behind a proxy, add `-e FORWARDED_ALLOW_IPS=`
# with the address from which the proxy connects, as docs/configuration.md says. Telephone carriers need
# port 8080 only; a browser sends its audio over UDP, which needs `--network host`. `docker stop -t 65`
# lets calls in progress end (`shutdown.drain_s` plus 35 s), and `docker kill -s HUP` reloads a changed
# configuration. More: docs/deploy.md.
#
# The image below is pinned; docs/deploy.md says how to update it.
FROM python:3.11.15-slim-bookworm@sha256:b18992999dbe963a45a8a4da40ac2b1975be1a776d939d098c647482bcad5cba AS base

FROM base AS build

WORKDIR /app
# Compile now: the user below cannot write here, so every start would compile everything again.
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1

# The same as `make setup`, in two steps, so that a change to our code downloads no package again. Every
# package is checked against its hash. The drivers of PostgreSQL and Redis are in the other lock file.
COPY requirements.lock requirements-dev.lock ./
COPY scripts/setup scripts/lock_rows scripts/one_package.py scripts/write_bytecode.py scripts/
RUN sh scripts/setup requirements.lock packages && \
    sh scripts/lock_rows requirements-dev.lock asyncpg redis > drivers.lock && \
    .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes \
        --requirement drivers.lock

COPY pyproject.toml README.md LICENSE ./
COPY runtime runtime
COPY engines engines
COPY fallbacks fallbacks
COPY calls calls
COPY contacts contacts
COPY providers providers
COPY transports transports
COPY processors processors
COPY configuration configuration
COPY operations operations
COPY campaigns campaigns
COPY lab lab
COPY bot bot
COPY holdline holdline
RUN sh scripts/setup requirements.lock && \
    .venv/bin/python -m compileall -q bot calls campaigns configuration contacts engines fallbacks holdline lab operations processors providers runtime transports
# Remove the tools that installed and built it, and the packages of a Pipecat resampler that we do not
# use (210 MB).
RUN .venv/bin/python -m pip uninstall --quiet --yes --root-user-action ignore \
        llvmlite numba resampy \
        editables hatchling pathspec pluggy setuptools tomlkit trove-classifiers uv pip && \
    rm -r scripts requirements*.lock drivers.lock

FROM base

# Only /data and /tmp are written to, so run it with a read-only root.
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

# Without a shell in between, so that signals reach Holdline. `docker run holdline doctor` works as well.
ENTRYPOINT ["holdline"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]
