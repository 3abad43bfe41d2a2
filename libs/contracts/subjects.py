"""Every NATS subject, bucket and key of Sluice: built here and nowhere else.

| what     | subject or bucket | key                      |
| -------- | ----------------- | ------------------------ |
| lease    | KV `replicas`     | `<model>.<replica_id>`   |
| model    | KV `models`       | `<model>`                |
| tenant   | KV `tenants`      | `<tenant>`, `access.open` |
| target   | KV `targets`      | `manual.<model>`, `decided.<model>` |
| failure  | KV `targets`      | `failing.<model>`, `trouble` |
| leader   | KV `leaders`      | `<service>`              |
| routing  | KV `routing`      | `<edge_id>`              |
| load     | `load.<model>.<replica_id>`  | core, not stored |
| demand   | `demand.<model>.<edge_id>`   | core, not stored |
| facts    | `fact.<kind>.<model or ->`   | stream `FACTS`   |
"""

from __future__ import annotations

from typing import Final

from libs.contracts.ids import EdgeId, ModelName, ReplicaId
from libs.contracts.reports import DemandReport, LoadReport

REPLICAS_BUCKET: Final = "replicas"
MODELS_BUCKET: Final = "models"
TENANTS_BUCKET: Final = "tenants"
TARGETS_BUCKET: Final = "targets"
LEADERS_BUCKET: Final = "leaders"
ROUTING_BUCKET: Final = "routing"

TROUBLE_KEY: Final = "trouble"
"""The key in the `targets` bucket under which the autoscaler says why it cannot act."""

FACTS_STREAM: Final = "FACTS"
FACTS_SUBJECTS: Final = "fact.>"
PROBE_KEY: Final = "probe.write"
"""A key that no record has; removing it probes whether the bucket accepts writes."""

FACTS_PROBE: Final = "fact.probe.-"
"""Subject of the messages that probe whether facts can be stored; they are not facts."""

LOAD_SUBJECTS: Final = "load.>"
DEMAND_SUBJECTS: Final = "demand.>"


def lease_key(model: ModelName, replica: ReplicaId) -> str:
    """Build the key of a replica's lease in the `replicas` bucket."""
    return f"{model}.{replica}"


def manual_target_key(model: ModelName) -> str:
    """Build the key under which a person pins a model's target."""
    return f"manual.{model}"


def decided_target_key(model: ModelName) -> str:
    """Build the key under which the autoscaler writes its target and reason."""
    return f"decided.{model}"


def failing_key(model: ModelName) -> str:
    """Build the key under which the autoscaler says why a model does not come."""
    return f"failing.{model}"


def load_subject(model: ModelName, replica: ReplicaId) -> str:
    """Build the subject of a replica's load reports."""
    return f"load.{model}.{replica}"


def demand_subject(model: ModelName, edge: EdgeId) -> str:
    """Build the subject on which an edge reports queued, refused and held requests."""
    return f"demand.{model}.{edge}"


def report_subject(report: LoadReport | DemandReport) -> str:
    """Build the subject of any report."""
    match report:
        case LoadReport():
            return load_subject(report.model, report.replica_id)
        case DemandReport():
            return demand_subject(report.model, report.edge_id)


def bucket_stream(bucket: str) -> str:
    """Name the JetStream stream behind a bucket."""
    return f"KV_{bucket}"


def bucket_subject(bucket: str, key: str) -> str:
    """Build the subject that holds a bucket's key; `>` for all of its keys.

    Source: NATS ADR-8, JetStream based key-value stores.
    """
    return f"$KV.{bucket}.{key}"


def bucket_key(bucket: str, subject: str) -> str:
    """Return the key that a bucket's subject names."""
    return subject.removeprefix(f"$KV.{bucket}.")


def fact_subject(kind: str, model: ModelName | None) -> str:
    """Build the subject of a fact; `kind` is the middle of its schema, such as `replica_joined`.

    Facts about no single model carry `-` in the model's place.
    """
    return f"fact.{kind}.{model or '-'}"
