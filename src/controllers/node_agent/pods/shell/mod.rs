//! The commands that simulated containers understand.
//!
//! ```text
//! command, args -> parse -> Program -> run: files of the container, time -> exit code
//! ```
//!
//! A [`Program`] is one of three:
//! - a *script*: `sh -c` with a list of the commands in [`commands::KNOWN`],
//!   joined by `;`, `&&`, `||`, newlines, with `!`, quotes, `$NAME`, `$(…)`,
//!   `*` and `?` in file names, the redirections `>`, `>>`, `<` and `2>`,
//!   `while … do … done`, `if … then … fi`, `exec`, `exit` and a `trap` on
//!   TERM; or one such command without a shell;
//! - a *service*: anything else, an image's own program included. Nothing of
//!   it is executed. It runs until it is told to end, and then ends with 0.
//!
//! What is understood is executed on the node's files, as the container sees
//! them. Like process 1 of a container a script does not end at TERM unless it
//! has a trap: it is killed when its time is up. A trap is run when the command
//! has ended that the shell waits for.

pub mod commands;
pub mod parse;
pub mod pattern;
pub mod run;

use parse::Node;

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Understood: executed.
    Script(Node),
    /// Not understood, or the image's own program: runs until told to end.
    Service,
}

impl Program {
    /// What a container's `command` and `args` come to.
    pub fn of(command: &[String], args: &[String]) -> Self {
        let words: Vec<&str> = command.iter().chain(args).map(String::as_str).collect();
        let node = match words.as_slice() {
            [] => return Self::Service,
            [shell, "-c", script, ..] if is_shell(shell) => parse::script(script),
            [shell, "-ec" | "-ce" | "-xc", ..] if is_shell(shell) => return Self::Service,
            words => Some(parse::plain(words)),
        };
        match node {
            Some(node) if node.is_known() => Self::Script(node),
            _ => Self::Service,
        }
    }
}

fn is_shell(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    matches!(name, "sh" | "bash" | "ash" | "dash")
}
