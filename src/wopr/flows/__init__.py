"""Tasks that belong together: composed, enqueued in one commit, looked at as one."""

from wopr.calls.signature import Composition, Signature, chain, chord, group
from wopr.flows.flow import Flow, Node
from wopr.flows.handle import FlowHandle
from wopr.flows.members import FlowProgress

__all__ = [
    "Composition",
    "Flow",
    "FlowHandle",
    "FlowProgress",
    "Node",
    "Signature",
    "chain",
    "chord",
    "group",
]
