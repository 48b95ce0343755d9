//! What a server sent that cannot be read: skipped, and told.

use std::collections::VecDeque;

use jiff::Timestamp;

/// Complaints kept; older ones are dropped and counted.
const KEPT_MAX: usize = 100;

/// One thing that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    pub time: Timestamp,
    /// Names the object and field, and what is wrong with it.
    pub text: String,
}

/// The newest complaints of one cluster.
#[derive(Debug, Clone, Default)]
pub struct Complaints {
    kept: VecDeque<Complaint>,
    total: u64,
}

impl Complaints {
    /// Oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Complaint> {
        self.kept.iter()
    }

    /// How many there were, those no longer kept included.
    pub fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn add(&mut self, complaint: Complaint) {
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(complaint);
        self.total += 1;
    }
}

/// Makes text of a foreign server fit to be shown: no control characters, and
/// no more than `most` characters.
pub(super) fn readable(text: &str, most: usize) -> String {
    let mut short: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect();
    if text.chars().nth(most).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_bounded_and_counted() {
        let mut complaints = Complaints::default();
        for number in 0..250 {
            complaints.add(Complaint { time: Timestamp::UNIX_EPOCH, text: number.to_string() });
        }
        assert_eq!(complaints.total(), 250);
        assert_eq!(complaints.iter().count(), KEPT_MAX);
        assert_eq!(complaints.iter().last().map(|c| c.text.as_str()), Some("249"));
    }

    #[test]
    fn escape_sequences_of_a_server_do_not_reach_the_screen() {
        assert_eq!(readable("\u{1b}[2J<html>\n", 5), " [2J<...");
    }
}
