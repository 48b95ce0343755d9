//! Makes the pictures in `assets/`: the program draws itself.
//!
//! ```text
//! cargo run --example pictures
//! ```
//!
//! An embedded cluster is filled by the real controllers on a clock that moves
//! by hand, then looked at by keys, as a person would.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pvdeck::cluster::clock::ManualClock;
use pvdeck::cluster::write_path::{perform, perform_as_shown};
use pvdeck::model::kind::Kind;
use pvdeck::model::node_board::{NodeBoard, Stage};
use pvdeck::model::object::{Key, ObjectRef};
use pvdeck::model::write::{Actor, Change, Reason, Write};
use pvdeck::plugins::host::Disks;
use pvdeck::plugins::host::simulated::rules::Latency;
use pvdeck::session::{EmbeddedOptions, NODES, Session};
use pvdeck::ui::boards::NodeFacts;
use pvdeck::ui::data::{Access, Data, Look, SessionFacts, Stepping};
use pvdeck::ui::message::{Effect, Message};
use pvdeck::ui::picture;
use pvdeck::ui::screen;
use pvdeck::ui::state::{State, TableId};
use pvdeck::ui::terminal::input::Decoder;
use pvdeck::ui::text::Glyphs;
use pvdeck::ui::theme::Theme;
use pvdeck::ui::update::{settle_anew, update};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde_json::{Value, json};

/// When the pictures are taken: 2026-11-21 09:41:07 UTC.
const START: i64 = 1_795_254_067 - 600;

const VOLUMES: &str = include_str!("pictures/volumes.yaml");
const CLAIMS: &str = include_str!("pictures/claims.yaml");
const PODS: &str = include_str!("pictures/pods.yaml");

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    tokio::time::pause();
    let clock = ManualClock::new(Timestamp::from_second(START)?);
    let session = Session::embedded_on(Arc::new(clock.clone()), EmbeddedOptions::default())
        .map_err(|error| format!("{error:?}"))?;
    create(&session, "admin", "an admin prepares storage", VOLUMES).await?;
    clock.settle(1_000).await;
    create(&session, "developer", "a developer asks for space", CLAIMS).await?;
    clock.settle(1_000).await;
    clock.advance(Duration::from_secs(540)).await;
    for (name, keys) in [
        ("claims", ":pvc\r"),
        ("why", ":pvc\r/assets\rw"),
        ("journey", ":pvc\r/mysql-0\r\r"),
        ("delete", ":pvc\r/registry\r\x04"),
    ] {
        let picture = picture::svg(&look_at(&session, keys)?);
        std::fs::write(format!("assets/{name}.svg"), picture)?;
    }
    // The last picture is of a write that is held.
    session.path.gate().shut();
    let client = session.path.client(Actor("developer".into()));
    let object = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": "shop", "name": "backup"},
        "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "manual",
            "resources": {"requests": {"storage": "2Gi"}}}});
    let write = creation(object, "a developer asks for space")?;
    tokio::spawn(async move { drop(perform_as_shown(&client, &write).await) });
    clock.idle().await;
    session.path.gate().pass_one();
    clock.idle().await;
    let picture = picture::svg(&look_at(&session, ":step\r")?);
    std::fs::write("assets/stepping.svg", picture)?;
    board(&session, &clock).await
}

/// A node's board while a disk is formatted there.
async fn board(session: &Session, clock: &ManualClock) -> Result<(), Failure> {
    let world = session.demo.as_ref().and_then(|demo| demo.world.as_ref());
    let world = world.ok_or("the demo has no machines")?;
    let boards = session.host.as_ref().and_then(|host| host.boards()).ok_or("no agents run")?;
    world.set_latency(Latency::realistic());
    Disks::create(world, "orders", 1 << 30).await?;
    session.path.gate().open();
    create(session, "developer", "a developer starts pods", PODS).await?;
    let formats = |board: NodeBoard| board.rows.iter().any(|row| row.stage == Stage::Format);
    for _ in 0..10_000 {
        if boards.board("node-1").is_some_and(formats) {
            break;
        }
        clock.step().await;
    }
    clock.advance(Duration::from_millis(700)).await;
    let picture = picture::svg(&look_at(session, ":board node-1\rj")?);
    std::fs::write("assets/board.svg", picture)?;
    Ok(())
}

async fn create(session: &Session, who: &str, why: &str, objects: &str) -> Result<(), Failure> {
    let client = session.path.client(Actor(who.into()));
    let objects: Vec<Value> = serde_yaml::from_multiple(objects)?;
    for object in objects {
        perform(&client, &creation(object, why)?).await?;
    }
    Ok(())
}

fn creation(body: Value, why: &str) -> Result<Write, Failure> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = Kind::by_type(&text(&body["apiVersion"]), &text(&body["kind"]))
        .ok_or("an object of unknown kind")?;
    let metadata = &body["metadata"];
    let object =
        ObjectRef::new(kind, Key::new(text(&metadata["namespace"]), text(&metadata["name"])));
    Ok(Write {
        object: object.clone(),
        subresource: None,
        change: Change::Create(body),
        version: None,
        on_behalf_of: object,
        reason: Reason::new("picture", why),
    })
}

/// The screen after these keys.
fn look_at(session: &Session, keys: &str) -> Result<Buffer, Failure> {
    let facts = SessionFacts {
        context: "demo".into(),
        live: false,
        access: Access::Writable,
        contexts: Vec::new(),
        themes: Vec::new(),
        refused: Vec::new(),
    };
    let look = Look { theme: Theme::built_in("dark")?, glyphs: Glyphs::Unicode };
    let mut data = Data::new(session.mirror.clone(), facts, look);
    data.present = session.path.clock().now();
    data.now = data.present.as_second();
    data.heard = Some(data.now);
    if let Some(boards) = session.host.as_ref().and_then(|host| host.boards()) {
        let tell = |node: &&str| {
            Some(NodeFacts { board: boards.board(node)?, commands: boards.commands(node) })
        };
        data.boards.tell(NODES.iter().filter_map(tell).collect());
    }
    let gate = session.path.gate();
    data.stepping = Some(Stepping { mode: gate.mode(), held: gate.held() });
    session.path.journal().read(0, |entries| data.journal.extend(entries.cloned()));
    data.rebuild();
    let mut state = State::new(80, 24, TableId::Overview);
    for input in Decoder::default().feed(keys.as_bytes()) {
        let effects = update(&mut state, &data, Message::Input(input), 10_000);
        if effects.iter().any(|effect| matches!(effect, Effect::Relens(_))) {
            data.follow(&state);
            settle_anew(&mut state, &data);
        }
        data.follow(&state);
        data.find_reasons(&state);
    }
    update(&mut state, &data, Message::Changed, 20_000);
    let area = Rect::new(0, 0, state.width, state.height);
    let mut buffer = Buffer::empty(area);
    screen::draw_into(&state, &data, area, &mut buffer);
    Ok(buffer)
}
