# One image for the four services; the command says which. It has no servers of its own: core/ leaves PostgreSQL and Valkey out.
# The console's pages are built first, so that the image holds neither Node nor npm's packages.
FROM node:24-slim AS console
WORKDIR /console
COPY console/package.json console/package-lock.json console/.npmrc ./
RUN npm ci --omit=dev --ignore-scripts
COPY console ./
RUN node build.mjs --out /static

FROM python:3.12-slim

RUN useradd --create-home --uid 10001 langlog
WORKDIR /langlog
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY schemas schemas
COPY backbone backbone
COPY gateway gateway
COPY executor executor
COPY projector projector
COPY scheduler scheduler
COPY cli cli
COPY core core
COPY --from=console /static gateway/langlog_gateway/console/static
RUN pip install --no-cache-dir -c constraints.txt ./core

# The project to serve. Your own: build FROM this image, install its packages, copy it to /project.
COPY examples/chat /project

ENV LANGLOG_PROJECT=/project/langgraph.json \
    LANGLOG_HOST=0.0.0.0 \
    LANGLOG_HEALTH_PORT=8080 \
    LOG_JSON=true \
    PYTHONUNBUFFERED=1
USER langlog
EXPOSE 2024 8080
ENTRYPOINT ["langlog"]
