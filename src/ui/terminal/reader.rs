//! The thread that reads the terminal.
//!
//! A thread and not a task: reading a terminal blocks, and a runtime that waits
//! for it at its end would hang until the next key.

use std::io;

use tokio::sync::mpsc;

/// Bytes as they came, or that no more will.
#[derive(Debug)]
pub enum Chunk {
    Bytes(Vec<u8>),
    /// The terminal is gone.
    Closed,
}

/// Chunks that may wait; a paste longer than that waits in the terminal.
const CHUNKS_MAX: usize = 64;

/// Starts reading standard input; ends with the process, or when nobody
/// listens any more.
pub fn start() -> io::Result<mpsc::Receiver<Chunk>> {
    let (send, receive) = mpsc::channel(CHUNKS_MAX);
    std::thread::Builder::new().name("terminal".into()).spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            let chunk = match rustix::io::read(io::stdin(), &mut buffer) {
                Ok(0) => Chunk::Closed,
                Ok(count) => Chunk::Bytes(buffer[..count].to_vec()),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
                Err(_) => Chunk::Closed,
            };
            let closed = matches!(chunk, Chunk::Closed);
            if send.blocking_send(chunk).is_err() || closed {
                return;
            }
        }
    })?;
    Ok(receive)
}
