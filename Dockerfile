# Builds the book and passes the tests on a machine without a GPU:
#   docker build --tag stn-paper . && docker run --rm stn-paper
# The devcontainer takes the stage `system` alone, as its files are the user's.
FROM python:3.12-slim-bookworm AS system
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends chromium fonts-dejavu-core git libatomic1 make \
    && rm -rf /var/lib/apt/lists/*

FROM system
WORKDIR /stn-paper
COPY . .
RUN make .venv/installed TORCH=cpu PYTHON=python
ENV PATH="/stn-paper/.venv/bin:$PATH"
CMD ["make", "book", "test", "TORCH=cpu", "PYTHON=python"]
