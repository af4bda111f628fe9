# The same two things as the Makefile, in containers:
#   docker compose up                          like `make run`
#   docker compose --profile tests up tests    like `make test`
# To deploy a site of your own, use the Dockerfile that the project template brings.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1
WORKDIR /srv

# --- what is installed, from the lock file; nothing of this stage but /opt/venv is kept ------------
FROM base AS build
ENV UV_PROJECT_ENVIRONMENT=/opt/venv UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
RUN apt-get update && apt-get install -y --no-install-recommends gcc pkg-config libmariadb-dev \
    && rm -rf /var/lib/apt/lists/* && pip install --no-cache-dir "uv>=0.9,<1"
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev --extra granian --extra valkey --extra postgres --extra mysql --no-install-project --compile-bytecode
COPY README.md LICENSE ./
COPY project_template project_template
COPY vtasks_asgi vtasks_asgi
RUN uv sync --frozen --no-dev --extra granian --extra valkey --extra postgres --extra mysql --no-editable --compile-bytecode

# --- make test: with the Debian packages that the tests start ------------------------
FROM base AS tests
ENV CI=true
RUN apt-get update && apt-get install -y --no-install-recommends make
COPY Makefile Makefile
COPY tools tools
RUN make packages && rm -rf /var/lib/apt/lists/*
COPY . .
RUN make mysql
CMD ["make", "test"]

# --- make run: the last stage, so it is what a plain `docker build` makes --------------------------
FROM base AS app
RUN apt-get update && apt-get install -y --no-install-recommends libmariadb3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin app \
    && install --directory --owner app --group app /data
COPY --from=build /opt/venv /opt/venv
COPY tools/project.py tools/project.py
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER app
# The project, and in it the SQLite database: all that has to survive the container.
VOLUME ["/data"]
EXPOSE 8000
# Granian hands it on; running tasks get VTASKS_DRAIN_TIMEOUT (20 s), so stop with 30 s of grace.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/vtasks/health/ready', timeout=2)"]
CMD ["python", "tools/project.py", "serve", "--project=/data/mysite", "--host=0.0.0.0", "--port=8000"]
