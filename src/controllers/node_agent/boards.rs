//! The boards of all nodes, as the console reads them.

use tokio::sync::watch;

use crate::model::node_board::NodeBoard;

/// What every hosted node has and should have.
pub trait NodeBoards: Send + Sync {
    /// One node's volumes; `None` if no agent runs for it. Made when asked.
    fn board(&self, node: &str) -> Option<NodeBoard>;

    /// Rises when a board may have changed: draw again.
    fn changes(&self) -> watch::Receiver<u64>;
}
