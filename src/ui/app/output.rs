//! What goes out to the terminal: frames, questions, giving it back for a while.

use std::io;

use crate::ui::app::shell::Shell;
use crate::ui::app::{Ending, UiError};
use crate::ui::message::Message;
use crate::ui::screen;
use crate::ui::terminal::{ASK_SYNCHRONIZED, may_be_asked};

impl Shell {
    pub(super) fn resized(&mut self) -> Result<(), UiError> {
        let size = self.tty.size();
        self.terminal.backend_mut().set_size(size);
        self.take(Message::Resize { width: size.width, height: size.height })
    }

    /// The first frame, and every later one.
    pub(super) fn draw(&mut self) -> Result<(), UiError> {
        self.draw_at_ms = None;
        let complete = self.data.find_reasons(&self.state);
        let (state, data) = (&self.state, &self.data);
        let drawn = self.terminal.draw(|frame| screen::draw(state, data, frame)).map(|_| ());
        self.drawn_ms = self.now_ms();
        if !complete {
            self.draw_soon();
        }
        self.written(drawn)
    }

    /// A terminal that went away ends the console; anything else is an error.
    pub(super) fn written(&mut self, written: io::Result<()>) -> Result<(), UiError> {
        match written {
            Ok(()) => Ok(()),
            Err(error) => match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                Some(rustix::io::Errno::PIPE | rustix::io::Errno::IO) => {
                    self.end(Ending::TerminalGone);
                    Ok(())
                }
                _ => Err(UiError::Draw(error)),
            },
        }
    }

    /// Asks what the terminal can do; its answer comes as input, if ever.
    pub(super) fn ask_terminal(&mut self) -> Result<(), UiError> {
        if may_be_asked(&std::env::var("TERM").unwrap_or_default()) {
            self.send(ASK_SYNCHRONIZED)?;
        }
        Ok(())
    }

    pub(super) fn send(&mut self, sequence: &str) -> Result<(), UiError> {
        let backend = self.terminal.backend_mut();
        backend.queue(sequence);
        let sent = ratatui::backend::Backend::flush(backend);
        self.written(sent)
    }

    /// Everything on the screen is drawn anew with the next frame.
    pub(super) fn redraw(&mut self) -> Result<(), UiError> {
        let cleared = self.terminal.clear();
        self.written(cleared)?;
        self.draw_soon();
        Ok(())
    }

    pub(super) fn suspend(&mut self) -> Result<(), UiError> {
        self.tty.give_back();
        let stopped =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP);
        if let Err(error) = stopped {
            tracing::warn!("cannot suspend: {error}");
        }
        self.come_back()
    }

    /// After the shell let us go on: it may have changed the terminal.
    pub(super) fn come_back(&mut self) -> Result<(), UiError> {
        self.tty.give_back();
        self.tty.take_again()?;
        self.resized()?;
        self.redraw()
    }
}
