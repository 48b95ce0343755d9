//! The boards of all nodes, as the console reads them.

use tokio::sync::watch;

use crate::model::node_board::NodeBoard;
use crate::plugins::host::CommandRecord;

/// What every hosted node has and should have.
pub trait NodeBoards: Send + Sync {
    /// One node's volumes; `None` if no agent runs for it. Made when asked.
    fn board(&self, node: &str) -> Option<NodeBoard>;

    /// The newest commands run on the node, oldest first.
    fn commands(&self, node: &str) -> Vec<CommandRecord>;

    /// Rises when a board may have changed: draw again.
    fn changes(&self) -> watch::Receiver<u64>;
}
