//! The row of a claim.

use crate::model::claim::{Claim, ClaimPhase};
use crate::model::class::BindingMode;
use crate::model::object::Key;
use crate::ui::age::age;
use crate::ui::lists::order::{Listing, Rank};
use crate::ui::lists::{Cell, Column, Context, column};
use crate::ui::reason;
use crate::ui::sign::Sign;
use crate::ui::theme::Role;

const COLUMNS: &[Column] = &[
    column("NAMESPACE", 'N', 9, 2).growing(1),
    column("NAME", 'M', 12, 0).growing(4),
    column("STATE", 'S', 11, 0),
    column("SIZE", 'Z', 6, 0).to_the_right(),
    column("MODE", 'O', 4, 3),
    column("CLASS", 'C', 8, 1).growing(1),
    column("AGE", 'A', 5, 0).to_the_right(),
    column("VOLUME OR WHY", 'V', 12, 1).growing(7),
];

/// The word for a claim's state: Terminating stands over the phase.
pub fn state_word(claim: &Claim) -> &'static str {
    match (claim.meta.deleting, claim.phase) {
        (Some(_), _) => "Terminating",
        (None, ClaimPhase::Unset) => "Pending",
        (None, phase) => phase.name(),
    }
}

/// The size a claim has, or asks for with a `?`.
pub fn size_text(claim: &Claim) -> String {
    match (claim.capacity, claim.request) {
        (Some(capacity), _) if claim.phase == ClaimPhase::Bound => capacity.to_string(),
        (_, Some(request)) => format!("{request}?"),
        _ => "?".into(),
    }
}

/// Whether the claim waits for its first pod, which is normal.
pub fn waits_for_consumer(claim: &Claim, context: Context<'_>) -> bool {
    let class = claim.class.as_deref().unwrap_or_default();
    claim.volume_name.is_empty()
        && context
            .tables
            .classes
            .get(&Key::cluster(class))
            .is_some_and(|class| class.binding_mode == Some(BindingMode::WaitForFirstConsumer))
        && context.tables.pods_using(&claim.meta.key).next().is_none()
}

/// What a Pending claim looks like before it has been compared with volumes.
fn first_glance(claim: &Claim, context: Context<'_>) -> Sign {
    if waits_for_consumer(claim, context) {
        return Sign::NotYet;
    }
    let tables = context.tables;
    let Some(class) = reason::class_of(claim, tables) else { return Sign::Fault };
    let provisioner = &*class.provisioner;
    let somebody = reason::registered(provisioner, tables) > 0;
    if class.binding_mode != Some(BindingMode::WaitForFirstConsumer) {
        return if somebody { Sign::Busy } else { Sign::Fault };
    }
    let nobody = !somebody && !provisioner.starts_with("kubernetes.io/");
    let unplaced = tables.pods_using(&claim.meta.key).any(|pod| pod.is_unschedulable());
    if nobody || unplaced { Sign::Fault } else { Sign::Busy }
}

impl Listing for Claim {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn sign(&self, context: Context<'_>) -> Sign {
        match (self.meta.deleting, self.phase) {
            (Some(_), _) => Sign::Busy,
            (None, ClaimPhase::Bound) => Sign::Ok,
            (None, ClaimPhase::Lost) => Sign::Lost,
            (None, ClaimPhase::Pending | ClaimPhase::Unset) => {
                match context.reasons.get(&self.meta.uid) {
                    Some(reason) => reason.sign,
                    None => first_glance(self, context),
                }
            }
        }
    }

    /// By this claims are sorted, so that a row does not jump when its reason
    /// is found.
    fn glance(&self, context: Context<'_>) -> Sign {
        match (self.meta.deleting, self.phase) {
            (None, ClaimPhase::Pending | ClaimPhase::Unset) => first_glance(self, context),
            _ => self.sign(context),
        }
    }

    fn cells(&self, context: Context<'_>) -> Vec<Cell> {
        let modes = match self.phase {
            ClaimPhase::Bound => self.actual_modes,
            _ => self.access_modes,
        };
        let volume = if self.phase == ClaimPhase::Bound {
            Cell::or_dash(&self.volume_name)
        } else {
            match context.reasons.get(&self.meta.uid) {
                Some(reason) => Cell::new(reason.short.clone()),
                None => Cell::with("-", Role::Dim),
            }
        };
        vec![
            Cell::new(self.meta.key.namespace.to_string()),
            Cell::new(self.meta.key.name.to_string()),
            Cell::with(state_word(self), self.sign(context).role()),
            Cell::new(size_text(self)),
            Cell::new(modes.to_string()),
            Cell::or_dash(self.class.as_deref().unwrap_or_default()),
            Cell::new(age(self.meta.created, context.now)),
            volume,
        ]
    }

    fn rank(&self, column: Option<usize>, context: Context<'_>) -> Rank {
        let text = |text: &str| Rank::Text(text.into());
        match column {
            None => Rank::Number(self.glance(context) as i64),
            Some(0) => Rank::Text(self.meta.key.namespace.clone()),
            Some(1) => Rank::Text(self.meta.key.name.clone()),
            Some(2) => text(state_word(self)),
            Some(3) => {
                let size = self.capacity.filter(|_| self.phase == ClaimPhase::Bound);
                Rank::quantity(size.or(self.request).map(|quantity| quantity.units()))
            }
            Some(4) => text(&self.access_modes.to_string()),
            Some(5) => text(self.class.as_deref().unwrap_or_default()),
            Some(6) => Rank::Number(-self.meta.created),
            Some(_) => Rank::Text(self.volume_name.clone()),
        }
    }

    fn texts(&self, see: &mut dyn FnMut(&str) -> bool) {
        let _ = see(&self.meta.key.name)
            || see(&self.meta.key.namespace)
            || see(state_word(self))
            || see(&self.volume_name)
            || see(self.class.as_deref().unwrap_or_default());
    }
}
