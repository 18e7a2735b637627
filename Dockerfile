# The server alone: ONNX Runtime and the exported model, without torch and without data.
#   python -m classifier export && docker build -t classifier .
FROM python:3.11-slim

WORKDIR /app
COPY requirements-dev.txt .
# The versions that the tests ran with, of what the server imports.
RUN grep -E '^[a-z0-9]' requirements-dev.txt | sed 's/ *\\$//' > constraints.txt \
    && pip install --no-cache-dir --constraint constraints.txt \
        fastapi numpy onnxruntime pillow prometheus-fastapi-instrumentator python-multipart uvicorn \
    && rm requirements-dev.txt constraints.txt

COPY classifier classifier
COPY models/model.onnx models/model.onnx

RUN useradd --system --no-create-home server
USER server
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["python", "-m", "classifier", "serve", "--model", "models/model.onnx", "--host", "0.0.0.0"]
