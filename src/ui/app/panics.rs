//! What happens when something panics while the screen is up.
//!
//! A panic of the console's own thread gives the terminal back before its
//! report is printed, so that it can be read. One of another thread, such as a
//! controller's, leaves the console running, which says so. The report itself
//! is made and saved by the hook that was there before.

use tokio::sync::mpsc;

use crate::ui::terminal::Tty;

/// Installs the hook for a console on this thread; what other threads say
/// comes through the receiver. Call after the hook that makes reports.
pub fn install(tty: &Tty) -> mpsc::UnboundedReceiver<String> {
    let (tell, told) = mpsc::unbounded_channel();
    let own = std::thread::current().id();
    let tty = tty.clone();
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == own {
            tty.give_back();
        } else {
            let what = panic.payload_as_str().unwrap_or("no message");
            // Nobody listens any more only when the console ends.
            let _ = tell.send(format!("a part of pvdeck failed (see panic.txt): {what}"));
        }
        report(panic);
    }));
    told
}
