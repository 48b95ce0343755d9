//! A console that looks on while something is measured: a thread of its own
//! that draws as the console does, sixty times a second at most and only when
//! something changed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pvdeck::controllers::node_agent::boards::NodeBoards;
use pvdeck::mirror::Mirror;
use pvdeck::ui::boards::NodeFacts;
use pvdeck::ui::state::TableId;
use serde_json::{Value, json};

use crate::cluster::Hosted;
use crate::frames::Console;
use crate::measure::{percentile, thread_processor};

const FRAME: Duration = Duration::from_micros(16_667);

/// What the console shows.
#[derive(Debug, Clone)]
pub enum Screen {
    Nodes,
    /// The board of this node, the first of the list.
    BoardOf(&'static str),
}

/// A console that draws until it is asked for its figures.
pub struct Watched {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Value>,
}

impl Watched {
    /// Begins to look on.
    pub fn start(hosted: &Hosted, screen: Screen) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mirror, boards, stopped) = (hosted.mirror.clone(), hosted.host.boards(), stop.clone());
        let thread = std::thread::spawn(move || watch(&mirror, boards, &screen, &stopped));
        Self { stop, thread }
    }

    /// The time of a frame, by the processor and by the wall, and how many
    /// objects had changed before it at most.
    pub fn figures(self) -> Value {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("the console ends well")
    }
}

fn watch(
    mirror: &Mirror,
    boards: Option<Arc<dyn NodeBoards>>,
    screen: &Screen,
    stop: &AtomicBool,
) -> Value {
    let mut console = Console::watching(mirror.clone(), TableId::Nodes);
    let changes = mirror.subscribe();
    let mut told = boards.as_ref().map(|boards| boards.changes());
    drop(changes.take());
    console.frame();
    if matches!(screen, Screen::BoardOf(_)) {
        console.key("g\r");
    }
    let (mut processor, mut wall, mut most) = (Vec::new(), Vec::new(), 0);
    while !stop.load(Ordering::Acquire) {
        let next = Instant::now() + FRAME;
        let changed: HashSet<_> = changes.take();
        let board = told.as_mut().is_some_and(|told| told.has_changed().unwrap_or_default());
        if !changed.is_empty() || board {
            most = most.max(changed.len());
            let start = (thread_processor(), Instant::now());
            if let (Screen::BoardOf(node), Some(boards), Some(told)) = (screen, &boards, &mut told)
            {
                told.mark_unchanged();
                let commands = boards.commands(node);
                let facts = boards.board(node).map(|board| NodeFacts { board, commands });
                console.tell(facts.into_iter().collect());
            }
            console.takes_in(changed);
            processor.push((thread_processor() - start.0).as_secs_f64() * 1e6);
            wall.push(start.1.elapsed().as_secs_f64() * 1e6);
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    json!({
        "frames": processor.len(), "changed_at_most": most,
        "processor_micros_median": percentile(&mut processor, 50),
        "processor_micros_p99": percentile(&mut processor, 99),
        "processor_micros_max": percentile(&mut processor, 100),
        "wall_micros_median": percentile(&mut wall, 50),
        "wall_micros_p99": percentile(&mut wall, 99),
    })
}
