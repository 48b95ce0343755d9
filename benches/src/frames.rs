//! Frames: what drawing costs with few and with many objects, and how many
//! bytes go to an 80x24 terminal. The console's own state, update and backend
//! run; only the terminal behind them is a counter.

use std::collections::HashSet;
use std::io::{self, Write};
use std::time::Instant;

use pvdeck::mirror::Mirror;
use pvdeck::mirror::freshness::Freshness;
use pvdeck::model::claim::Claim;
use pvdeck::model::kind::{self, ALL};
use pvdeck::model::object::{Key, ObjectRef};
use pvdeck::model::row::Row as _;
use pvdeck::model::volume::Volume;
use pvdeck::ui::boards::NodeFacts;
use pvdeck::ui::data::{Access, Data, Look, SessionFacts};
use pvdeck::ui::message::{Effect, Message};
use pvdeck::ui::screen;
use pvdeck::ui::state::{State, TableId};
use pvdeck::ui::terminal::input::Decoder;
use pvdeck::ui::terminal::wire::{ColorDepth, Wire};
use pvdeck::ui::text::Glyphs;
use pvdeck::ui::theme::Theme;
use pvdeck::ui::update::{settle_anew, update};
use ratatui::Terminal;
use ratatui::layout::Size;
use serde_json::{Value, json};

use crate::load;
use crate::measure::percentile;
use crate::memory::{bound_claim, bound_volume};

pub const FRAMES: usize = 500;
const WIDTH: u16 = 80;
const HEIGHT: u16 = 24;

/// Counts what it is given.
#[derive(Debug, Default)]
pub struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A console on a mirror's rows.
pub struct Console {
    pub mirror: Mirror,
    state: State,
    data: Data,
    terminal: Terminal<Wire<Counter>>,
    now_ms: u64,
}

/// Times and bytes with this many claims and as many volumes.
pub fn run(claims: usize) -> Value {
    let mut console = Console::open(claims);
    let first = console.frame();
    let mut keys = Measured::default();
    for n in 0..FRAMES {
        // Down and up again, so that nothing scrolls.
        keys.take(|| console.key(if n % 16 < 8 { "j" } else { "k" }));
    }
    let mut changes = Measured::default();
    for n in 0..FRAMES {
        changes.take(|| console.change(n % 8, n));
    }
    let mut idle = Measured::default();
    // What the changes lit up goes out first.
    console.now_ms += 60_000;
    console.calm();
    for _ in 0..FRAMES {
        idle.take(|| console.frame());
    }
    let mut scrolls = Measured::default();
    for _ in 0..FRAMES.min(claims / 2) {
        scrolls.take(|| console.key("j"));
    }
    json!({
        "claims": claims, "first_frame_bytes": first, "nothing": idle.figures(),
        "cursor_move": keys.figures(), "changed_row": changes.figures(),
        "scroll": scrolls.figures(),
    })
}

/// Times and bytes of one kind of step.
#[derive(Default)]
pub struct Measured {
    micros: Vec<f64>,
    bytes: Vec<f64>,
}

impl Measured {
    pub fn take(&mut self, step: impl FnOnce() -> usize) {
        let start = Instant::now();
        let bytes = step();
        self.micros.push(start.elapsed().as_secs_f64() * 1e6);
        self.bytes.push(bytes as f64);
    }

    pub fn figures(mut self) -> Value {
        json!({
            "micros_median": percentile(&mut self.micros, 50),
            "micros_p99": percentile(&mut self.micros, 99),
            "bytes_median": percentile(&mut self.bytes, 50),
            "bytes_max": percentile(&mut self.bytes, 100),
        })
    }
}

impl Console {
    /// On so many bound pairs.
    fn open(claims: usize) -> Self {
        let mirror = Mirror::default();
        for n in 0..claims {
            mirror.apply(Volume::from_object(&bound_volume(n)).expect("a row"));
            mirror.apply(Claim::from_object(&bound_claim(n)).expect("a row"));
        }
        Self::over(mirror, TableId::Claims)
    }

    /// On these rows, with this table open.
    pub fn over(mirror: Mirror, first: TableId) -> Self {
        ALL.iter().for_each(|kind| mirror.set_freshness(kind, Freshness::Live));
        Self::watching(mirror, first)
    }

    /// On rows that others keep current.
    pub fn watching(mirror: Mirror, first: TableId) -> Self {
        let session = SessionFacts {
            context: "bench".into(),
            live: false,
            access: Access::Writable,
            contexts: Vec::new(),
            themes: Vec::new(),
            refused: Vec::new(),
        };
        let theme = Theme::built_in("dark").expect("a theme");
        let mut data = Data::new(mirror.clone(), session, Look { theme, glyphs: Glyphs::Unicode });
        let state = State::new(WIDTH, HEIGHT, first);
        data.follow(&state);
        let wire = Wire::new(Counter::default(), Size::new(WIDTH, HEIGHT), ColorDepth::True);
        let terminal = Terminal::new(wire).expect("no terminal, no error");
        Self { mirror, state, data, terminal, now_ms: 10_000 }
    }

    /// Keys, and the frame after them.
    pub fn key(&mut self, bytes: &str) -> usize {
        self.now_ms += 100;
        for input in Decoder::default().feed(bytes.as_bytes()) {
            let effects = update(&mut self.state, &self.data, Message::Input(input), self.now_ms);
            self.data.follow(&self.state);
            if effects.iter().any(|effect| matches!(effect, Effect::Relens(_))) {
                settle_anew(&mut self.state, &self.data);
            }
        }
        self.frame()
    }

    /// A claim on the screen gets another size, and the frame after it.
    fn change(&mut self, claim: usize, to: usize) -> usize {
        let mut object = bound_claim(claim);
        object["metadata"]["resourceVersion"] = (1_000_000_000 + to).to_string().into();
        object["status"]["capacity"]["storage"] = format!("{}Gi", 100 + to % 100).into();
        self.mirror.apply(Claim::from_object(&object).expect("a row"));
        let key = Key::new("default", load::claim_name(claim));
        self.changed(ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, key))
    }

    /// An object of the mirror changed, and the frame after it.
    pub fn changed(&mut self, object: ObjectRef) -> usize {
        self.takes_in(HashSet::from([object]))
    }

    /// Objects of the mirror changed, and the frame after it.
    pub fn takes_in(&mut self, objects: HashSet<ObjectRef>) -> usize {
        self.now_ms += 100;
        self.data.await_absorbing(objects);
        self.calm()
    }

    /// Agents tell of the nodes that are looked at.
    pub fn tell(&mut self, told: Vec<NodeFacts>) {
        self.data.boards.tell(told);
    }

    /// What the cluster brought is taken in, and the frame after it.
    fn calm(&mut self) -> usize {
        self.data.absorb_awaiting(self.now_ms);
        update(&mut self.state, &self.data, Message::Changed, self.now_ms);
        self.data.follow(&self.state);
        self.frame()
    }

    /// Draws; the bytes sent.
    pub fn frame(&mut self) -> usize {
        let before = self.terminal.backend().out().0;
        self.data.find_reasons(&self.state);
        let (state, data) = (&self.state, &self.data);
        self.terminal.draw(|frame| screen::draw(state, data, frame)).expect("no I/O");
        self.terminal.backend().out().0 - before
    }
}
