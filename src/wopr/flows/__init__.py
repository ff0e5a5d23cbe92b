"""Tasks that belong together: composed, enqueued in one commit, looked at as one."""

from wopr.flows.flow import Flow, Node
from wopr.flows.handle import FlowHandle
from wopr.flows.members import FlowProgress
from wopr.flows.signature import Composition, Signature, chain, chord, group

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
