//! The row of a VolumeAttachment.

use crate::model::attachment::Attachment;
use crate::ui::age::age;
use crate::ui::lists::order::{Listing, Rank};
use crate::ui::lists::{Cell, Column, Context, column};
use crate::ui::sign::Sign;
use crate::ui::theme::Role;

const COLUMNS: &[Column] = &[
    column("VOLUME", 'V', 16, 0).growing(2),
    column("NODE", 'N', 12, 0).growing(1),
    column("STATE", 'S', 12, 0),
    column("ATTACHER", 'T', 14, 1).growing(1),
    column("AGE", 'A', 5, 0).to_the_right(),
    column("ERROR", 'E', 14, 0).growing(4),
];

fn state_word(attachment: &Attachment) -> &'static str {
    match (attachment.meta.deleting, attachment.attached) {
        (Some(_), _) => "Detaching",
        (None, true) => "Attached",
        (None, false) => "Attaching",
    }
}

fn error_text(attachment: &Attachment) -> &str {
    let error = attachment.detach_error.as_ref().or(attachment.attach_error.as_ref());
    error.map_or("", |error| &*error.message)
}

impl Listing for Attachment {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn sign(&self, _: Context<'_>) -> Sign {
        match (error_text(self).is_empty(), self.meta.deleting, self.attached) {
            (false, ..) => Sign::Fault,
            (true, None, true) => Sign::Ok,
            (true, ..) => Sign::Busy,
        }
    }

    fn cells(&self, context: Context<'_>) -> Vec<Cell> {
        vec![
            Cell::or_dash(&self.volume),
            Cell::new(self.node.to_string()),
            Cell::with(state_word(self), self.sign(context).role()),
            Cell::new(self.attacher.to_string()),
            Cell::new(age(self.meta.created, context.now)),
            match error_text(self) {
                "" => Cell::with("-", Role::Dim),
                error => Cell::new(error.to_owned()),
            },
        ]
    }

    fn rank(&self, column: Option<usize>, context: Context<'_>) -> Rank {
        match column {
            None => Rank::Number(self.sign(context) as i64),
            Some(0) => Rank::Text(self.volume.clone()),
            Some(1) => Rank::Text(self.node.clone()),
            Some(2) => Rank::Text(state_word(self).into()),
            Some(3) => Rank::Text(self.attacher.clone()),
            Some(4) => Rank::Number(-self.meta.created),
            Some(_) => Rank::Text(error_text(self).into()),
        }
    }

    fn texts(&self, see: &mut dyn FnMut(&str) -> bool) {
        let _ = see(&self.volume)
            || see(&self.node)
            || see(&self.attacher)
            || see(state_word(self))
            || see(error_text(self));
    }
}
