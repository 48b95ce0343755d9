//! What can happen.

use proptest::prelude::*;

use crate::crash::{WAYS, Way};

pub const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// How many names of pods, claims and volumes there are.
pub const NAMES: usize = 5;
/// Claims from this one on are provisioned, those before have local volumes.
pub const FIRST_PROVISIONED: usize = 3;

#[derive(Debug, Clone)]
pub enum Act {
    /// A pod with one or two claims, for any node or only for one.
    Pod {
        name: usize,
        claims: (usize, usize),
        only: Option<usize>,
    },
    Claim {
        name: usize,
        gib: u32,
    },
    Volume {
        name: usize,
        node: usize,
        gib: u32,
    },
    DropPod(usize),
    DropClaim(usize),
    DropVolume(usize),
    DropNode(usize),
    ReturnNode(usize),
    /// What the provisioner of the other class does next.
    Provision,
    Reject,
    /// From now on writes are held.
    Hold,
    /// So many of them pass.
    Pass(usize),
    Open,
    /// The controllers are started anew, and die at the write after so many.
    Crash {
        after: usize,
        way: Way,
    },
    Wait {
        seconds: u64,
    },
}

pub fn act() -> impl Strategy<Value = Act> {
    let (name, node) = (0..NAMES, 0..NODES.len());
    prop_oneof![
        4 => (name.clone(), name.clone(), proptest::option::weighted(0.2, node.clone()))
            .prop_map(|(name, claim, only)| Act::Pod { name, claims: (claim, claim), only }),
        3 => (name.clone(), (name.clone(), name.clone()), proptest::option::weighted(0.2, node.clone()))
            .prop_map(|(name, claims, only)| Act::Pod { name, claims, only }),
        6 => (name.clone(), 1..4_u32).prop_map(|(name, gib)| Act::Claim { name, gib }),
        6 => (name.clone(), node.clone(), 1..5_u32)
            .prop_map(|(name, node, gib)| Act::Volume { name, node, gib }),
        2 => name.clone().prop_map(Act::DropPod),
        1 => name.clone().prop_map(Act::DropClaim),
        2 => name.prop_map(Act::DropVolume),
        1 => node.clone().prop_map(Act::DropNode),
        2 => node.prop_map(Act::ReturnNode),
        4 => Just(Act::Provision),
        2 => Just(Act::Reject),
        2 => Just(Act::Hold),
        3 => (1..4_usize).prop_map(Act::Pass),
        2 => Just(Act::Open),
        3 => (0..12_usize, 0..WAYS.len())
            .prop_map(|(after, way)| Act::Crash { after, way: WAYS[way] }),
        6 => (1..4_u64).prop_map(|seconds| Act::Wait { seconds }),
    ]
}
