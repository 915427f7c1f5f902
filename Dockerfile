# streamparts on a CPU: docker build -t streamparts .
FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY streamparts streamparts
COPY train train
COPY export export
COPY locks locks
# What builds the wheel has its hashes, too, and stays out of the image.
RUN python3 -m venv --without-pip /opt/build \
    && python3 -m pip --python /opt/build/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes \
        --requirement locks/build.txt \
    && python3 -m pip --python /opt/build/bin/python wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel .
# More optional packages, which are in no lock: docker build --build-arg EXTRAS=openvino,messages,formats ...
ARG EXTRAS=openvino,messages
# Every file as locks/image.txt has it, by its hash; for what it holds nothing more is fetched after that.
RUN python3 -m venv --without-pip /opt/streamparts \
    && python3 -m pip --python /opt/streamparts/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes \
        --requirement locks/image.txt \
    && python3 -m pip --python /opt/streamparts/bin/python install --no-cache-dir --no-compile "$(echo /wheel/*.whl)[${EXTRAS}]"

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 --groups video streamparts \
    && install --directory --owner streamparts --group streamparts /data /home/streamparts/.cache
COPY --from=build /opt/streamparts /opt/streamparts
ENV PATH=/opt/streamparts/bin:$PATH PYTHONUNBUFFERED=1
USER streamparts
WORKDIR /data
ENTRYPOINT ["streamparts"]
CMD ["--help"]
