//! The calls to CSI drivers, taken over from the session for the seen view.

use crate::plugins::csi::calls::{Call, Calls};
use crate::ui::app::shell::Shell;
use crate::ui::calls::{self, About, CALLS_MAX, CallFacts};

impl Shell {
    /// Takes over what the seen view shows of calls.
    pub(super) fn take_calls(&mut self) {
        let calls = self.opened.session.demo.as_ref().map(|demo| demo.calls.clone());
        let Some(calls) = calls.filter(|_| calls::shows_calls(&self.state)) else {
            self.data.calls = CallFacts::default();
            return;
        };
        let demo = self.opened.session.demo.as_ref();
        let flex_volume = demo.and_then(|demo| demo.flex_drivers.as_ref());
        self.data.calls = CallFacts {
            flex_volume: flex_volume.map(|drivers| drivers.shown()).unwrap_or_default(),
            figures: calls.figures(),
            abilities: calls.abilities(),
            calls: self.calls_of_view(&calls),
        };
    }

    fn calls_of_view(&self, calls: &Calls) -> Vec<Call> {
        let Some(target) = calls::wanted(&self.state) else { return Vec::new() };
        let about = self.data.read(|context| About::of(target, context.tables));
        let Some(about) = about else { return Vec::new() };
        calls.newest(|call| about.includes(call), CALLS_MAX)
    }
}
