//! The row of a volume.

use crate::model::volume::{Volume, VolumePhase};
use crate::ui::age::age;
use crate::ui::lists::order::{Listing, Rank};
use crate::ui::lists::{Cell, Column, Context, column};
use crate::ui::sign::Sign;

const COLUMNS: &[Column] = &[
    column("NAME", 'N', 14, 0).growing(4),
    column("STATE", 'S', 11, 0),
    column("SIZE", 'Z', 6, 0).to_the_right(),
    column("MODE", 'O', 4, 2),
    column("RECLAIM", 'R', 7, 1),
    column("CLASS", 'C', 8, 1).growing(1),
    column("AGE", 'A', 5, 0).to_the_right(),
    column("CLAIM", 'L', 14, 0).growing(3),
    column("SOURCE", 'U', 16, 3).growing(4),
];

/// The word for a volume's state: Terminating stands over the phase.
pub fn state_word(volume: &Volume) -> &'static str {
    match (volume.meta.deleting, volume.phase) {
        (Some(_), _) => "Terminating",
        (None, VolumePhase::Unset) => "Pending",
        (None, phase) => phase.name(),
    }
}

/// `nfs nfs.example:/exports/one`.
pub fn source_text(volume: &Volume) -> String {
    let driver = volume.source.driver.as_deref().unwrap_or_default();
    let words = [&*volume.source.field, driver, &*volume.source.place];
    words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

impl Listing for Volume {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn sign(&self, _: Context<'_>) -> Sign {
        match (self.meta.deleting, self.phase) {
            (Some(_), _) => Sign::Busy,
            (None, VolumePhase::Failed) => Sign::Lost,
            (None, VolumePhase::Bound | VolumePhase::Available) => Sign::Ok,
            // Kept for a person to decide upon, which is what Retain means.
            (None, VolumePhase::Released) => Sign::NotYet,
            (None, VolumePhase::Pending | VolumePhase::Unset) => Sign::Busy,
        }
    }

    fn cells(&self, context: Context<'_>) -> Vec<Cell> {
        let claim = self.claim_ref.as_ref().map(|claim| claim.key.to_string());
        vec![
            Cell::new(self.meta.key.name.to_string()),
            Cell::with(state_word(self), self.sign(context).role()),
            Cell::new(self.capacity.map_or_else(|| "?".into(), |size| size.to_string())),
            Cell::new(self.access_modes.to_string()),
            Cell::new(self.reclaim_policy.name().to_owned()),
            Cell::or_dash(&self.class),
            Cell::new(age(self.meta.created, context.now)),
            Cell::or_dash(claim.as_deref().unwrap_or_default()),
            Cell::new(source_text(self)),
        ]
    }

    fn rank(&self, column: Option<usize>, context: Context<'_>) -> Rank {
        let text = |text: &str| Rank::Text(text.into());
        match column {
            None => Rank::Number(self.sign(context) as i64),
            Some(0) => Rank::Text(self.meta.key.name.clone()),
            Some(1) => text(state_word(self)),
            Some(2) => Rank::quantity(self.capacity.map(|size| size.units())),
            Some(3) => text(&self.access_modes.to_string()),
            Some(4) => text(self.reclaim_policy.name()),
            Some(5) => Rank::Text(self.class.clone()),
            Some(6) => Rank::Number(-self.meta.created),
            Some(7) => match &self.claim_ref {
                Some(claim) => text(&claim.key.to_string()),
                None => text(""),
            },
            Some(_) => text(&source_text(self)),
        }
    }

    fn texts(&self, see: &mut dyn FnMut(&str) -> bool) {
        let claim = self.claim_ref.as_ref();
        let _ = see(&self.meta.key.name)
            || see(state_word(self))
            || see(&self.class)
            || see(self.reclaim_policy.name())
            || claim.is_some_and(|claim| see(&claim.key.name) || see(&claim.key.namespace))
            || see(&self.source.field)
            || see(&self.source.place);
    }
}
