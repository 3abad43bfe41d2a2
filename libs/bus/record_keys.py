"""Map each record to the only key under which it is valid.

Model processes can write leases, so a lease may appear under another replica's key.
"""

from __future__ import annotations

from libs.bus.ports import Record
from libs.contracts.failing import AutoscalerTrouble, FailingModel
from libs.contracts.leader import LeaderClaim
from libs.contracts.lease import ReplicaLease
from libs.contracts.model_spec import ModelSpec
from libs.contracts.reports import RoutingStatus
from libs.contracts.subjects import (
    TROUBLE_KEY,
    decided_target_key,
    failing_key,
    lease_key,
    manual_target_key,
)
from libs.contracts.targets import DecidedTarget, ManualTarget
from libs.contracts.tenant import OPEN_TO_ALL_KEY, OpenToAll, Tenant


def record_key(record: Record) -> str:
    """Return the only key under which a record counts."""
    match record:
        case ReplicaLease() | ManualTarget() | DecidedTarget() | FailingModel():
            return _key_of_model(record)
        case ModelSpec(name=name) | Tenant(name=name) | RoutingStatus(edge_id=name):
            return name
        case LeaderClaim(service=service):
            return service
        case OpenToAll():
            return OPEN_TO_ALL_KEY
        case AutoscalerTrouble():
            return TROUBLE_KEY


def _key_of_model(record: ReplicaLease | ManualTarget | DecidedTarget | FailingModel) -> str:
    match record:
        case ReplicaLease(model=model, replica_id=replica):
            return lease_key(model, replica)
        case ManualTarget(model=model):
            return manual_target_key(model)
        case DecidedTarget(model=model):
            return decided_target_key(model)
        case FailingModel(model=model):
            return failing_key(model)
