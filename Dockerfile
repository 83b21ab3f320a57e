# secateur as an image. With your files below the current folder:
#   docker build --tag secateur .
#   docker run --rm --volume "$PWD:/work" --user "$(id -u):$(id -g)" secateur inspect net.cfg net.weights

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY __init__.py __init__.pyi __main__.py py.typed version.py ./
COPY cli cli
COPY core core
COPY formats formats
COPY proto proto
COPY workflows workflows
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
# Further packages: lmdb, hdf5, report, dask, train. An empty value installs none of them.
ARG EXTRAS=hdf5,lmdb,report
COPY --from=build /wheels /wheels
RUN python -m pip install --no-cache-dir "$(ls /wheels/*.whl)${EXTRAS:+[$EXTRAS]}" \
    && useradd --create-home --uid 1000 secateur \
    && mkdir /work \
    && chown secateur:secateur /work
# Whoever runs it may have no home: what libraries keep goes to a place that all can write to.
ENV HOME=/tmp
USER secateur
WORKDIR /work
ENTRYPOINT ["secateur"]
CMD ["--help"]
