# syntax=docker/dockerfile:1
# Built in one stage, run in another that holds nothing but the interpreter and the installed gateway.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/gateway
COPY requirements.txt ./
RUN /opt/gateway/bin/pip install --require-hashes -r requirements.txt
COPY pyproject.toml LICENSE ./
COPY gateway ./gateway
RUN /opt/gateway/bin/pip install --no-deps --no-build-isolation . \
 && /opt/gateway/bin/pip uninstall --yes setuptools pip

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="venice-gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
# Compiled once in the build: the root file system may be mounted read-only. Everything the gateway
# writes goes to /data, and its temporary files with it.
# Beyond loopback VGW_PUBLIC_URL must be given: the gateway says so and does not start without it.
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VGW_HOST=0.0.0.0 \
    VGW_PORT=8080 \
    VGW_DATA_DIR=/data \
    VGW_POLICIES=/app/policies \
    HOME=/data \
    TMPDIR=/data
# Nothing in here installs or builds any more; the base image brings pip, and up to 3.11 setuptools.
RUN python -m pip uninstall --yes --root-user-action=ignore pip setuptools wheel \
 && useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin gateway \
 && install -d -o gateway -g gateway -m 0700 /data
COPY --from=build /opt/gateway /opt/gateway
COPY policies /app/policies
WORKDIR /app
USER 10001:10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["venice-gateway", "doctor", "--live"]
ENTRYPOINT ["venice-gateway"]
CMD ["serve"]
