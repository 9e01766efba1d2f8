# One image for every process; the command names it: `docker run headrace scorer`.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/headrace
WORKDIR /src
COPY requirements-image.lock ./
RUN /opt/headrace/bin/pip install --require-hashes -r requirements-image.lock
COPY . .
RUN /opt/headrace/bin/pip install --no-deps --no-build-isolation . \
    && /opt/headrace/bin/pip uninstall --yes setuptools wheel

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home headrace && install -d -o headrace -g headrace /models /spill \
    && install -d -m 700 -o headrace -g headrace /secret
COPY --from=build /opt/headrace /opt/headrace
ENV PATH=/opt/headrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HEADRACE_MODELS=/models \
    HEADRACE_SPILL=/spill
USER headrace
WORKDIR /home/headrace
EXPOSE 8050 8080
ENTRYPOINT ["headrace"]
