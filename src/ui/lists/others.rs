//! Lists of a few things that are no rows of the mirror: controllers,
//! contexts, namespaces.

use crate::mirror::Tables;
use crate::ui::data::{ControllerFacts, SessionFacts};
use crate::ui::lists::filter::Filter;
use crate::ui::lists::plain::{PlainList, PlainRow};
use crate::ui::lists::{Cell, Column, column};
use crate::ui::sign::Sign;
use crate::ui::theme::Role;

const CONTROLLERS: &[Column] = &[
    column("CONTROLLER", 'N', 22, 0).growing(2).unsorted(),
    column("STATE", 'S', 10, 0).unsorted(),
    column("QUEUED", 'Q', 6, 0).to_the_right().unsorted(),
    column("AT WORK", 'W', 7, 1).to_the_right().unsorted(),
    column("WRITES", 'R', 6, 0).to_the_right().unsorted(),
    column("LAST ERROR", 'E', 18, 0).growing(5).unsorted(),
];

const CONTEXTS: &[Column] =
    &[column("CONTEXT", 'N', 24, 0).growing(3).unsorted(), column("", 'O', 10, 0).unsorted()];

const NAMESPACES: &[Column] =
    &[column("NAMESPACE", 'N', 24, 0).growing(3).unsorted(), column("KEY", 'K', 3, 0).unsorted()];

/// The hosted controllers.
pub fn controllers(facts: &[ControllerFacts], filter: &Filter) -> PlainList {
    let row = |facts: &ControllerFacts| {
        let sign = if facts.faulty { Sign::Fault } else { Sign::Ok };
        let error = facts.last_error.as_deref().unwrap_or_default();
        PlainRow {
            id: facts.name.clone(),
            sign,
            cells: vec![
                Cell::new(facts.name.clone()),
                Cell::with(facts.state.clone(), sign.role()),
                Cell::new(facts.queued.to_string()),
                Cell::new(facts.in_flight.to_string()),
                Cell::new(facts.writes.to_string()),
                Cell::or_dash(error),
            ],
            target: None,
        }
    };
    PlainList::new(CONTROLLERS, facts.iter().map(row).collect(), filter)
}

/// The clusters one can change to.
pub fn contexts(session: &SessionFacts, filter: &Filter) -> PlainList {
    let row = |name: &String| {
        let here = *name == session.context;
        PlainRow {
            id: name.clone(),
            sign: if here { Sign::Ok } else { Sign::NotYet },
            cells: vec![
                Cell::new(name.clone()),
                Cell::with(if here { "open" } else { "" }, Role::Ok),
            ],
            target: None,
        }
    };
    PlainList::new(CONTEXTS, session.contexts.iter().map(row).collect(), filter)
}

/// The namespaces, with the digit that narrows to each of the first nine.
pub fn namespaces(tables: &Tables, filter: &Filter) -> PlainList {
    let rows = tables.namespaces.iter().enumerate().map(|(at, namespace)| PlainRow {
        id: namespace.meta.key.name.to_string(),
        sign: match namespace.meta.deleting {
            Some(_) => Sign::Busy,
            None => Sign::Ok,
        },
        cells: vec![
            Cell::new(namespace.meta.key.name.to_string()),
            Cell::with(if at < 9 { (at + 1).to_string() } else { String::new() }, Role::Key),
        ],
        target: None,
    });
    PlainList::new(NAMESPACES, rows.collect(), filter)
}
