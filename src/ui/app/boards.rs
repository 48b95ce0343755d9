//! What the hosted agents tell of the nodes that are looked at.

use crate::ui::app::shell::Shell;
use crate::ui::boards::NodeFacts;

impl Shell {
    /// Takes over the boards of the nodes that the seen view is about, and of no
    /// other: a thousand agents cost a frame as much as one.
    pub(super) fn take_boards(&mut self) {
        let wanted = self.data.wanted_nodes(&self.state);
        let boards = self.opened.session.host.as_ref().and_then(|host| host.boards());
        let told = match boards {
            Some(boards) if !wanted.is_empty() => {
                let tell = |node: &std::sync::Arc<str>| {
                    let board = boards.board(node)?;
                    Some(NodeFacts { board, commands: boards.commands(node) })
                };
                wanted.iter().filter_map(tell).collect()
            }
            Some(_) | None => Vec::new(),
        };
        self.data.boards.tell(told);
    }
}
