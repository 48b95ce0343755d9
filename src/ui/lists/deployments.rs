//! The row of a Deployment.

use crate::model::deployment::Deployment;
use crate::ui::age::age;
use crate::ui::lists::order::{Listing, Rank};
use crate::ui::lists::{Cell, Column, Context, column};
use crate::ui::sign::Sign;

const COLUMNS: &[Column] = &[
    column("NAMESPACE", 'N', 9, 1).growing(1),
    column("NAME", 'M', 16, 0).growing(3),
    column("READY", 'R', 7, 0).to_the_right(),
    column("UPDATED", 'U', 7, 0).to_the_right(),
    column("AGE", 'A', 5, 0).to_the_right(),
    column("ROLLOUT", 'O', 16, 0).growing(2),
];

impl Listing for Deployment {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn sign(&self, _: Context<'_>) -> Sign {
        match (self.ready_replicas >= self.replicas, &*self.progress) {
            (_, "ProgressDeadlineExceeded" | "ReplicaSetCreateError") => Sign::Fault,
            (true, _) => Sign::Ok,
            (false, _) => Sign::Busy,
        }
    }

    fn cells(&self, context: Context<'_>) -> Vec<Cell> {
        let ready = format!("{}/{}", self.ready_replicas, self.replicas);
        vec![
            Cell::new(self.meta.key.namespace.to_string()),
            Cell::new(self.meta.key.name.to_string()),
            Cell::with(ready, self.sign(context).role()),
            Cell::new(self.updated_replicas.to_string()),
            Cell::new(age(self.meta.created, context.now)),
            Cell::or_dash(&self.progress),
        ]
    }

    fn rank(&self, column: Option<usize>, context: Context<'_>) -> Rank {
        match column {
            None => Rank::Number(self.sign(context) as i64),
            Some(0) => Rank::Text(self.meta.key.namespace.clone()),
            Some(1) => Rank::Text(self.meta.key.name.clone()),
            Some(2) => Rank::Number(self.ready_replicas),
            Some(3) => Rank::Number(self.updated_replicas),
            Some(4) => Rank::Number(-self.meta.created),
            Some(_) => Rank::Text((&*self.progress).into()),
        }
    }

    fn texts(&self, see: &mut dyn FnMut(&str) -> bool) {
        let _ = see(&self.meta.key.name) || see(&self.meta.key.namespace);
    }
}
